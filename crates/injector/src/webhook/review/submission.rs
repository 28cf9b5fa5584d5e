//! Reviews of objects that are judged and not changed.
//!
//! [`decode_submission`] is to `/validate` what `decode` is to `/inject`. What is asked about anything but the contents of an object passes: an object
//! that could not be deleted, or whose status could not be written, would help nobody.

use serde_json::Value;

use super::{Answer, Envelope, Request, open, pass, refuse, subject};

/// An object that somebody wants to create or change.
#[derive(Debug)]
pub struct Submission {
    /// To whom the answer goes.
    pub envelope: Envelope,
    /// The namespace of the request; the object itself may name none.
    pub namespace: String,
    /// API group of the object's kind.
    pub group: String,
    /// Kind of the object.
    pub kind: String,
    /// The object, as the API server sent it.
    pub object: Value,
    /// Whether nothing comes of it, so that nothing is to be counted.
    pub dry_run: bool,
}

/// Reads a review of an object of any kind.
///
/// # Errors
/// The answer to give instead: a denial if the bytes are not such a review, or leave to pass if it is of something that is not judged.
pub fn decode_submission(bytes: &[u8]) -> Result<Submission, Box<Answer>> {
    let (envelope, request) = open(bytes)?;
    request.submit(envelope)
}

// === impl Request ===

impl Request {
    fn submit(self, mut envelope: Envelope) -> Result<Submission, Box<Answer>> {
        let operation = self.operation.as_deref();
        if !matches!(operation, None | Some("CREATE" | "UPDATE")) {
            return Err(pass(envelope, "not-submitted"));
        }
        if self.sub_resource.is_some_and(|name| !name.is_empty()) {
            return Err(pass(envelope, "subresource"));
        }
        let namespace = self.namespace.unwrap_or_default();
        envelope.subject = subject(&namespace, self.object.as_ref());
        let Some(object @ Value::Object(_)) = self.object else {
            return Err(refuse(
                envelope,
                "the request holds no object, or one that is no JSON object".to_owned(),
            ));
        };
        let own = || own_kind(&object);
        let (group, kind) = match self.kind {
            Some(declared) => (declared.group, declared.kind.unwrap_or_default()),
            None => own(),
        };
        Ok(Submission {
            envelope,
            namespace,
            group,
            kind,
            object,
            dry_run: self.dry_run.unwrap_or_default(),
        })
    }
}

/// Clients that test a webhook by hand often leave the request's kind out.
fn own_kind(object: &Value) -> (String, String) {
    let text = |field: &str| {
        object
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let group = text("apiVersion")
        .split_once('/')
        .map_or("", |(group, _)| group);
    (group.to_owned(), text("kind").to_owned())
}
