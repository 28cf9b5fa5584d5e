//! A request to the stand-in, taken apart.

use std::{
    collections::HashMap,
    io::{self, BufRead},
};

use serde_json::{Value, json};

use super::objects::Key;

/// What a client asks.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    /// What the path leads to, if it is one of resources.
    pub(super) target: Option<Target>,
    query: HashMap<String, String>,
    accepts: String,
    pub(super) body: Value,
}

/// A resource, all objects of it or one.
#[derive(Debug, PartialEq)]
pub(super) struct Target {
    group: String,
    pub(super) resource: String,
    namespace: Option<String>,
    pub(super) name: Option<String>,
}

/// The largest body that is read: nobody writes anything of size.
const LARGEST_BODY: usize = 4 << 20;

// === impl Request ===

impl Request {
    /// Reads the next one; nothing at the end of the connection.
    pub(super) fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (method, uri) = (word(), word());
        let (path, query) = uri.split_once('?').unwrap_or((&uri, ""));
        let mut request = Self {
            method,
            path: path.to_owned(),
            target: Target::of(path),
            query: query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(key, value)| (key.to_owned(), decoded(value)))
                .collect(),
            ..Self::default()
        };
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().map_err(io::Error::other)?,
                "accept" => value.trim().clone_into(&mut request.accepts),
                _ => {}
            }
        }
        if length > LARGEST_BODY {
            return Err(io::Error::other("the body is too large"));
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        request.body = serde_json::from_slice(&body).unwrap_or_default();
        Ok(Some(request))
    }

    pub(super) fn is_watch(&self) -> bool {
        self.query
            .get("watch")
            .is_some_and(|watch| watch == "true" || watch == "1")
    }

    pub(super) fn wants_bookmarks(&self) -> bool {
        self.query
            .get("allowWatchBookmarks")
            .is_some_and(|wants| wants == "true")
    }

    /// The version that a watch begins after; everything where it says none.
    pub(super) fn since(&self) -> u64 {
        let version = self.query.get("resourceVersion");
        version
            .and_then(|version| version.parse().ok())
            .unwrap_or_default()
    }

    /// Whether only the metadata of objects is asked for.
    pub(super) fn is_metadata(&self) -> bool {
        self.accepts.contains("as=PartialObjectMetadata")
    }

    /// The object as it is to be sent.
    pub(super) fn form(&self, object: &Value) -> Value {
        if !self.is_metadata() {
            return object.clone();
        }
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
    }

    /// Whether the selectors of the request match the object; those that this server does not know match everything.
    pub(super) fn selects(&self, object: &Value) -> bool {
        let terms = |key: &str| {
            self.query
                .get(key)
                .into_iter()
                .flat_map(|text| text.split(','))
        };
        let field = terms("fieldSelector").all(|term| match term.split_once('=') {
            Some(("metadata.name", name)) => object["metadata"]["name"] == name,
            _ => true,
        });
        let label = terms("labelSelector").all(|term| {
            let (key, value) = match term.split_once('=') {
                Some((key, value)) => (key, Some(value.trim_start_matches('='))),
                None => (term, None),
            };
            // Anything but equality and existence.
            if key.is_empty() || key.contains(['!', ' ', '(']) {
                return true;
            }
            let label = object["metadata"]["labels"][key].as_str();
            label.is_some() && value.is_none_or(|value| label == Some(value))
        });
        field && label
    }
}

// === impl Target ===

impl Target {
    /// `/api/v1/…` or `/apis/GROUP/VERSION/…`, with or without a namespace and a name.
    fn of(path: &str) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/');
        let group = match parts.next()? {
            "api" => "",
            "apis" => parts.next()?,
            _ => return None,
        };
        let _version = parts.next()?;
        let mut parts: Vec<&str> = parts.collect();
        let namespace = match *parts.as_slice() {
            ["namespaces", namespace, _, ..] => {
                parts.drain(..2);
                Some(namespace.to_owned())
            }
            _ => None,
        };
        let mut parts = parts.into_iter().map(str::to_owned);
        Some(Self {
            group: group.to_owned(),
            resource: parts.next()?,
            namespace,
            name: parts.next(),
        })
    }

    /// Whether an object of this key is meant, its name aside.
    pub(super) fn is_of(&self, (group, resource, namespace, _): &Key) -> bool {
        let is_there = |wanted: &String| wanted == namespace;
        *group == self.group
            && *resource == self.resource
            && self.namespace.as_ref().is_none_or(is_there)
    }
}

/// Without the escapes of a query.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next(), rest.next()].map(Option::unwrap_or_default);
                let digits = str::from_utf8(&digits).unwrap_or_default();
                u8::from_str_radix(digits, 16).unwrap_or(b'?')
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
