//! Istio's label set, in Istio's order.
//!
//! The collector encodes the labels of every key when somebody scrapes; the request path knows no label.
//! One side is this workload, the other the peer; an identity is shown only where mutual TLS has proven it.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};

use super::key::{Code, Key, Reporter, Security, Service};
use crate::peer::{PartyNames, names::OVERFLOW, names::UNKNOWN};

/// The labels of one series as seen by the workload `own`; the HTTP family has two more than TCP.
#[derive(Clone, Copy, Debug)]
pub(super) struct Labels<'a> {
    pub(super) key: Key<'a>,
    pub(super) own: &'a PartyNames,
}

// === impl Labels ===

impl<'a> Labels<'a> {
    fn security(self) -> &'static str {
        match (self.key.reporter, self.key.security) {
            // The source cannot know whether the destination would have taken it otherwise.
            (Reporter::Source, _) => UNKNOWN,
            (Reporter::Destination, Security::MutualTls) => "mutual_tls",
            (Reporter::Destination, Security::Plaintext) => "none",
        }
    }

    /// Orders series by what is shown of them; equal only if all labels are, whatever handles they are made of.
    pub(super) fn rank(self) -> impl Ord + use<'a> {
        let (peer, service) = (self.key.peer, self.service());
        let names = [
            &*peer.workload,
            &*peer.namespace,
            &*peer.canonical_service,
            &*peer.canonical_revision,
            &*peer.app,
            &*peer.version,
            &*peer.cluster,
        ];
        let proven = [&*peer.principal, &*self.own.principal].map(|name| self.proven(name));
        let key = (self.key.reporter, self.key.code, self.key.flag);
        (service, names, key, proven, self.security())
    }

    /// Host, name and namespace of the service.
    fn service(self) -> [&'a str; 3] {
        let destination = match self.key.reporter {
            Reporter::Source => self.key.peer,
            Reporter::Destination => self.own,
        };
        let (host, namespace) = match self.key.service {
            Service::Known(names) => (&*names.host, &*names.namespace),
            Service::Overflow => (OVERFLOW, OVERFLOW),
            Service::Passthrough | Service::InboundPassthrough | Service::BlackHole => {
                (UNKNOWN, &*destination.namespace)
            }
        };
        [host, self.key.service.as_str(), namespace]
    }

    /// An identity, if the connection has proven it.
    fn proven(self, principal: &'a str) -> &'a str {
        match self.key.security {
            Security::MutualTls => principal,
            Security::Plaintext => UNKNOWN,
        }
    }

    /// Who calls and who is called.
    fn parties(self) -> [(&'static str, &'a str); 20] {
        let key = self.key;
        let (reporter, source, destination) = match key.reporter {
            Reporter::Source => ("source", self.own, &**key.peer),
            Reporter::Destination => ("destination", &**key.peer, self.own),
        };
        let [host, name, namespace] = self.service();
        [
            ("reporter", reporter),
            ("source_workload", &source.workload),
            ("source_canonical_service", &source.canonical_service),
            ("source_canonical_revision", &source.canonical_revision),
            ("source_workload_namespace", &source.namespace),
            ("source_principal", self.proven(&source.principal)),
            ("source_app", &source.app),
            ("source_version", &source.version),
            ("source_cluster", &source.cluster),
            ("destination_workload", &destination.workload),
            ("destination_workload_namespace", &destination.namespace),
            ("destination_principal", self.proven(&destination.principal)),
            ("destination_app", &destination.app),
            ("destination_version", &destination.version),
            ("destination_service", host),
            (
                "destination_canonical_service",
                &destination.canonical_service,
            ),
            (
                "destination_canonical_revision",
                &destination.canonical_revision,
            ),
            ("destination_service_name", name),
            ("destination_service_namespace", namespace),
            ("destination_cluster", &destination.cluster),
        ]
    }
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.parties().encode(encoder)?;
        let http = ("request_protocol", "http");
        let grpc = ("grpc_response_status", "");
        match self.key.code {
            Code::Tcp => [("request_protocol", "tcp")].encode(encoder)?,
            Code::Http(status) => {
                let mut buffer = itoa::Buffer::new();
                [http, ("response_code", buffer.format(status)), grpc].encode(encoder)?;
            }
            Code::HttpOverflow => [http, ("response_code", OVERFLOW), grpc].encode(encoder)?,
        }
        [
            ("response_flags", self.key.flag.as_str()),
            ("connection_security_policy", self.security()),
        ]
        .encode(encoder)
    }
}
