//! AdmissionReview in, AdmissionReview out.
//!
//! [`decode`] turns the bytes of a request into an [`Admission`] or into the [`Answer`] that refuses them; [`Answer::to_json`] writes what the
//! API server reads; [`decode_submission`] does the same for objects that are judged rather than injected. Whatever the bytes are, the answer is a
//! whole review, with the version and the uid of the request if they can be found at all. Pure.

mod recover;
mod submission;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use submission::{Submission, decode_submission};

/// The versions of AdmissionReview that we speak, the preferred one first.
const VERSIONS: [&str; 2] = ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"];
/// The only kind there is.
const KIND: &str = "AdmissionReview";
/// The API server may cut longer warnings, and drops what passes 4 KiB together.
const MAX_WARNING_BYTES: usize = 256;
/// As many as there is surely room for.
const MAX_WARNINGS: usize = 4096 / MAX_WARNING_BYTES;

/// Where a warning is cut.
const ELLIPSIS: &str = "…";

/// What a review asks.
#[derive(Debug)]
pub struct Admission {
    /// To whom the answer goes.
    pub envelope: Envelope,
    /// The namespace of the request; the object itself may name none.
    pub namespace: String,
    /// The pod, as the API server sent it.
    pub pod: Value,
    /// Whether nothing comes of it, so that nothing is to be said or counted.
    pub dry_run: bool,
}

/// What an answer repeats of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// One of the versions that we speak.
    api_version: &'static str,
    uid: String,
    /// The object as `NAMESPACE/NAME` for logs; the name is the beginning of one if the API server is yet to choose.
    subject: String,
}

/// What the API server is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// To whom it goes.
    pub envelope: Envelope,
    /// What is decided.
    pub verdict: Verdict,
    /// Sentences for whoever sent the request; kubectl prints them.
    pub warnings: Vec<String>,
}

/// What is decided about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The object is allowed once this JSON patch (RFC 6902, as bytes) is applied.
    Patch(Vec<u8>),
    /// The object is allowed as it is, for the reason with this code.
    Pass(&'static str),
    /// The object is refused.
    Deny(Denial),
}

/// Why an object is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Whose fault it is, as the HTTP status and the reason of the Kubernetes API.
    pub blame: Blame,
    /// What is wrong and what to do, for whoever sent the request.
    pub message: String,
}

/// Whose fault a denial is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The review makes no sense: 400, `BadRequest`.
    Review,
    /// The object asks for something impossible: 422, `Invalid`.
    Object,
    /// The configuration or the injector itself: 500, `InternalError`.
    Injector,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    api_version: Option<String>,
    kind: Option<String>,
    request: Option<Request>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: Option<String>,
    kind: Option<RequestKind>,
    sub_resource: Option<String>,
    operation: Option<String>,
    namespace: Option<String>,
    dry_run: Option<bool>,
    object: Option<Value>,
}

#[derive(Deserialize)]
struct RequestKind {
    #[serde(default)]
    group: String,
    kind: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReviewOut<'a> {
    api_version: &'a str,
    kind: &'a str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Status<'a> {
    status: &'a str,
    message: &'a str,
    reason: &'a str,
    code: u16,
}

/// Reads a review.
///
/// # Errors
/// The answer to give instead: a denial if the bytes are not a review of a pod, or leave to pass if the review is of something that
/// injection has no part in, such as a change of an existing pod.
pub fn decode(bytes: &[u8]) -> Result<Admission, Box<Answer>> {
    let (envelope, request) = open(bytes)?;
    request.admit(envelope)
}

/// The envelope and what is in it.
fn open(bytes: &[u8]) -> Result<(Envelope, Request), Box<Answer>> {
    let review: Review = serde_json::from_slice(bytes).map_err(|error| {
        refuse(
            recover::envelope(bytes),
            format!("the AdmissionReview cannot be decoded: {error}"),
        )
    })?;
    let request = review.request;
    let uid = request
        .as_ref()
        .and_then(|request| request.uid.clone())
        .unwrap_or_default();
    let envelope = Envelope::new(review.api_version.as_deref(), uid);
    match check_envelope(
        review.api_version.as_deref(),
        review.kind.as_deref(),
        &envelope,
    ) {
        Ok(()) => {}
        Err(message) => return Err(refuse(envelope, message)),
    }
    match request {
        Some(_) if envelope.uid.is_empty() => {
            Err(refuse(envelope, "the request has no uid".to_owned()))
        }
        Some(request) => Ok((envelope, request)),
        None => Err(refuse(
            envelope,
            "the AdmissionReview holds no request".to_owned(),
        )),
    }
}

fn check_envelope(
    api_version: Option<&str>,
    kind: Option<&str>,
    envelope: &Envelope,
) -> Result<(), String> {
    if kind != Some(KIND) {
        return Err(format!(
            "the kind is `{}`, send an {KIND}",
            kind.unwrap_or_default()
        ));
    }
    if api_version != Some(envelope.api_version) {
        return Err(format!(
            "the apiVersion is `{}`, send one of {}",
            api_version.unwrap_or_default(),
            VERSIONS.join(", ")
        ));
    }
    Ok(())
}

fn refuse(envelope: Envelope, message: String) -> Box<Answer> {
    Box::new(Answer {
        envelope,
        verdict: Verdict::Deny(Denial {
            blame: Blame::Review,
            message,
        }),
        warnings: Vec::new(),
    })
}

fn pass(envelope: Envelope, reason: &'static str) -> Box<Answer> {
    Box::new(Answer {
        envelope,
        verdict: Verdict::Pass(reason),
        warnings: Vec::new(),
    })
}

/// As many lines as reach the user; the last one tells of those that do not.
fn warning_lines(warnings: &[String]) -> Vec<String> {
    let shown = match warnings.len() {
        0..=MAX_WARNINGS => warnings.len(),
        _ => MAX_WARNINGS - 1,
    };
    let lines = warnings.iter().take(shown).map(|text| warning_line(text));
    let rest = warnings.len() - shown;
    let more = (rest > 0).then(|| format!("{rest} more, which `minimesh why` tells"));
    lines.chain(more).collect()
}

/// One line without control characters: anything else never reaches the user, because warnings travel in an HTTP header.
fn warning_line(text: &str) -> String {
    let cut = text.floor_char_boundary(MAX_WARNING_BYTES);
    let (shown, rest) = text.split_at(cut);
    let mut line = shown.replace(char::is_control, " ");
    if !rest.is_empty() {
        line.truncate(line.floor_char_boundary(MAX_WARNING_BYTES - ELLIPSIS.len()));
        line.push_str(ELLIPSIS);
    }
    line
}

// === impl Envelope ===

impl Envelope {
    /// The envelope for a request of `api_version`, or of the preferred version if we do not speak that.
    fn new(api_version: Option<&str>, uid: String) -> Self {
        Self {
            api_version: VERSIONS
                .into_iter()
                .find(|known| api_version == Some(known))
                .unwrap_or(VERSIONS[0]),
            uid,
            subject: String::new(),
        }
    }

    /// The pod, for logs.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The request's uid, for logs.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }
}

// === impl Request ===

impl Request {
    fn admit(self, mut envelope: Envelope) -> Result<Admission, Box<Answer>> {
        if self
            .operation
            .is_some_and(|operation| operation != "CREATE")
        {
            // Containers of a pod cannot be added later, so a patch could only break the change.
            return Err(pass(envelope, "not-created"));
        }
        if self.sub_resource.is_some_and(|name| !name.is_empty()) {
            return Err(pass(envelope, "subresource"));
        }
        let namespace = self.namespace.unwrap_or_default();
        envelope.subject = subject(&namespace, self.object.as_ref());
        let declared = self.kind.and_then(|kind| kind.kind);
        match self.object {
            Some(pod) if is_pod(&pod, declared.as_deref()) => Ok(Admission {
                envelope,
                namespace,
                pod,
                dry_run: self.dry_run.unwrap_or_default(),
            }),
            Some(Value::Object(_)) => Err(refuse(
                envelope,
                "the object of the request is not a Pod, register the webhook for pods only"
                    .to_owned(),
            )),
            Some(_) => Err(refuse(
                envelope,
                "the object of the request is not a JSON object".to_owned(),
            )),
            None => Err(refuse(envelope, "the request holds no object".to_owned())),
        }
    }
}

fn subject(namespace: &str, object: Option<&Value>) -> String {
    let name = |field| object?.get("metadata")?.get(field)?.as_str();
    let name = name("name").or_else(|| name("generateName"));
    format!("{namespace}/{}", name.unwrap_or_default())
}

/// Clients that test a webhook by hand often leave out one or the other kind; a wrong one is another matter.
fn is_pod(object: &Value, declared: Option<&str>) -> bool {
    let own = object.get("kind");
    object.is_object()
        && declared.is_none_or(|kind| kind == "Pod")
        && own.is_none_or(|kind| kind == "Pod")
}

// === impl Blame ===

impl Blame {
    fn code(self) -> u16 {
        match self {
            Self::Review => 400,
            Self::Object => 422,
            Self::Injector => 500,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Review => "BadRequest",
            Self::Object => "Invalid",
            Self::Injector => "InternalError",
        }
    }
}

// === impl Answer ===

impl Answer {
    /// The AdmissionReview that carries this answer.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let (status, patch) = match &self.verdict {
            Verdict::Patch(patch) => (None, Some(STANDARD.encode(patch))),
            Verdict::Pass(_) => (None, None),
            Verdict::Deny(denial) => (Some(denial.status()), None),
        };
        let review = ReviewOut {
            api_version: self.envelope.api_version,
            kind: KIND,
            response: Response {
                uid: &self.envelope.uid,
                allowed: status.is_none(),
                status,
                patch_type: patch.as_ref().map(|_| "JSONPatch"),
                patch,
                warnings: warning_lines(&self.warnings),
            },
        };
        serde_json::to_vec(&review).expect("text and numbers under text keys are always JSON")
    }
}

// === impl Denial ===

impl Denial {
    fn status(&self) -> Status<'_> {
        Status {
            status: "Failure",
            message: &self.message,
            reason: self.blame.reason(),
            code: self.blame.code(),
        }
    }
}

#[cfg(test)]
mod tests;
