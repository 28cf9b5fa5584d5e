//! The picture to the cache, and back.

use std::{
    net::IpAddr,
    time::{Instant, SystemTime},
};

use runtime::error::chain;
use tracing::debug;

use super::{Picture, Settings};
use crate::discovery::{
    cache::{self, Contents},
    client::{Kind, Server},
    convert,
};

// === impl Picture ===

impl Picture {
    pub(super) fn contents(&self) -> Contents {
        let kinds = Kind::ALL.into_iter();
        let resources = kinds.flat_map(|kind| {
            let held = self.client.resources(kind);
            held.map(move |(name, held)| cache::Resource {
                kind: kind.as_str().to_owned(),
                name: name.to_owned(),
                version: held.version.to_string(),
                body: held.body.to_vec(),
            })
        });
        let addresses = self
            .book
            .answered()
            .map(|(address, names)| cache::Answered {
                address: address.to_string(),
                resources: names.map(str::to_owned).collect(),
            });
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let answered = self.answered.iter().map(|kind| kind.as_str().to_owned());
        Contents {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.settings.node.id.clone(),
            wildcard: self.settings.wildcard,
            written: since.map_or(0, |since| since.as_secs()),
            is_foreign: self.is_foreign(),
            answered: answered.collect(),
            resources: resources.collect(),
            addresses: addresses.collect(),
        }
    }

    /// Takes over what the cache has, each resource as carefully as if the control plane had sent it.
    pub(super) fn restore(&mut self, now: Instant) {
        let Some(path) = &self.settings.cache else {
            return;
        };
        let contents = match cache::read(path, &self.settings.node.id) {
            Ok(Some(contents)) if contents.wildcard == self.settings.wildcard => contents,
            Ok(_) => return,
            Err(error) => {
                debug!(error = %chain(&error), "the cache of discovery is not used");
                self.status.metrics.cache_failures.inc();
                return;
            }
        };
        self.cache_from = contents.written();
        self.client.expect(match contents.is_foreign {
            true => Server::Foreign,
            false => Server::Own,
        });
        let kind_of = |text: &str| Kind::ALL.into_iter().find(|kind| kind.as_str() == text);
        let Settings { own, network, .. } = &self.settings;
        for resource in &contents.resources {
            let Some(kind) = kind_of(&resource.kind) else {
                continue;
            };
            let (name, body) = (&resource.name, &resource.body);
            let is_sound = match kind {
                Kind::Settings => convert::check_settings(body, own).is_ok(),
                Kind::PeerAuthentication => convert::policy(name, body).is_ok(),
                Kind::Address => convert::check_address(name, body, own, network).is_ok(),
            };
            if is_sound {
                self.client.restore(kind, name, &resource.version, body);
            }
        }
        let answered = contents.answered.iter();
        self.answered
            .extend(answered.filter_map(|kind| kind_of(kind)));
        if self.settings.wildcard {
            self.is_complete = self.answered.contains(&Kind::Address);
            return;
        }
        self.book.read(&mut self.client);
        for answered in &contents.addresses {
            if let Ok(address) = answered.address.parse::<IpAddr>() {
                let (client, names) = (&mut self.client, &answered.resources);
                self.book.restore(address, names, client, now);
            }
        }
    }
}
