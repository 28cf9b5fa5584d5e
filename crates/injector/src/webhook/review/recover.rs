//! Whom to answer when a review cannot be decoded.
//!
//! Called once decoding has failed. It walks the bytes again, builds nothing but the two fields an answer needs, and keeps what it
//! found when it comes to the place that is broken. Nesting costs it nothing: values it does not need are skipped, not built.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::Envelope;

/// The envelope of a broken review, as far as it can be found.
pub(super) fn envelope(bytes: &[u8]) -> Envelope {
    let mut found = Found::default();
    let mut json = serde_json::Deserializer::from_slice(bytes);
    // That it fails is why we are here; what counts is what was found before.
    let _ = Review(&mut found).deserialize(&mut json);
    Envelope::new(found.api_version.as_deref(), found.uid.unwrap_or_default())
}

#[derive(Default)]
struct Found {
    api_version: Option<String>,
    uid: Option<String>,
}

struct Review<'a>(&'a mut Found);

struct Request<'a>(&'a mut Found);

// === impl Review ===

impl<'de> DeserializeSeed<'de> for Review<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Review<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an AdmissionReview")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "apiVersion" => self.0.api_version = Some(map.next_value()?),
                "request" => map.next_value_seed(Request(self.0))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

// === impl Request ===

impl<'de> DeserializeSeed<'de> for Request<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Request<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request of an AdmissionReview")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "uid" => self.0.uid = Some(map.next_value()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}
