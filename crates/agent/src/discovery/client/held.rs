//! What a client holds, and how much of it.
//!
//! Each resource that comes is held against the bounds before anything is made of it, so that no server makes the sidecar grow without end.

use wire::discovery::Resource;

use super::{Check, Client, Kind, shown};

/// A resource as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// Differs when the contents do; empty if the control plane says none.
    pub version: Box<str>,
    /// The message, without its type.
    pub body: Box<[u8]>,
    /// The later of two came later.
    pub order: u64,
}

/// A resource that came, in parts.
struct Arrived<'a> {
    name: &'a str,
    version: &'a str,
    body: &'a [u8],
}

/// More than the longest name that Istio makes, of a cluster, a namespace and a host name of 253 bytes each.
pub(super) const LONGEST_NAME: usize = 1024;
/// Far more than a hash.
pub(super) const LONGEST_VERSION: usize = 128;
/// Pods and services of a mesh that one sidecar may be told of: the most of which a first request can say the versions within 4 MB.
pub(super) const MOST_RESOURCES: usize = 30_000;
/// All resources together; five times what so many take.
const MOST_BYTES: usize = 48 << 20;

// === impl Client ===

impl Client {
    /// Puts a resource of an earlier life back, as if it had come on an earlier stream; refuses more than a server may send.
    pub fn restore(&mut self, kind: Kind, name: &str, version: &str, body: &[u8]) -> bool {
        let resource = Arrived {
            name,
            version,
            body,
        };
        self.check_bounds(kind, &resource)
            .map(|()| self.hold(kind, &resource))
            .is_ok()
    }

    /// Whether the resource is other than the one of its name that is held.
    pub(super) fn take_resource(
        &mut self,
        kind: Kind,
        resource: &Resource,
        check: &mut Check<'_>,
    ) -> Result<bool, String> {
        let Some(any) = &resource.resource else {
            return Err("there is nothing in it".to_owned());
        };
        if any.type_url != kind.type_url() {
            return Err(format!("it is of type {:?}", shown(&any.type_url)));
        }
        let arrived = Arrived {
            name: &resource.name,
            version: &resource.version,
            body: &any.value,
        };
        self.check_bounds(kind, &arrived)?;
        let held = self.feed_mut(kind).resources.get_mut(arrived.name);
        if held.is_some_and(|held| *held.body == *arrived.body && *held.version == *arrived.version)
        {
            // Sent again because it was asked for again.
            return Ok(false);
        }
        check(kind, arrived.name, arrived.body)?;
        self.hold(kind, &arrived);
        Ok(true)
    }

    fn check_bounds(&self, kind: Kind, resource: &Arrived<'_>) -> Result<(), String> {
        if resource.name.is_empty() {
            return Err("it has no name".to_owned());
        }
        if resource.name.len() > LONGEST_NAME {
            return Err(format!("its name is longer than {LONGEST_NAME} bytes"));
        }
        if resource.version.len() > LONGEST_VERSION {
            return Err(format!(
                "its version is longer than {LONGEST_VERSION} bytes"
            ));
        }
        let n_held: usize = self.feeds.iter().map(|feed| feed.resources.len()).sum();
        let known = self.feed(kind).resources.get(resource.name);
        if known.is_none() && n_held >= MOST_RESOURCES {
            return Err(format!(
                "{MOST_RESOURCES} resources are held already, which is the most"
            ));
        }
        let size = self.n_bytes + resource.size();
        let freed = known.map_or(0, |held| held.size(resource.name));
        if size.saturating_sub(freed) > MOST_BYTES {
            return Err(format!(
                "more than {MOST_BYTES} bytes would be held, which is the most"
            ));
        }
        Ok(())
    }

    fn hold(&mut self, kind: Kind, resource: &Arrived<'_>) {
        self.drop_held(kind, resource.name);
        self.n_taken += 1;
        self.n_bytes += resource.size();
        // A copy: the bytes that came share one buffer with all others of their response.
        let held = Held {
            version: resource.version.into(),
            body: resource.body.into(),
            order: self.n_taken,
        };
        let resources = &mut self.feed_mut(kind).resources;
        resources.insert(resource.name.into(), held);
    }

    /// Whether there was anything to drop.
    pub(super) fn drop_held(&mut self, kind: Kind, name: &str) -> bool {
        let Some(held) = self.feed_mut(kind).resources.remove(name) else {
            return false;
        };
        self.n_bytes = self.n_bytes.saturating_sub(held.size(name));
        true
    }
}

// === impl Held ===

impl Held {
    pub(super) fn size(&self, name: &str) -> usize {
        name.len() + self.version.len() + self.body.len()
    }
}

// === impl Arrived ===

impl Arrived<'_> {
    fn size(&self) -> usize {
        self.name.len() + self.version.len() + self.body.len()
    }
}
