//! The parts that work in a cluster, put together.
//!
//! `app` builds them once there is a client and runs each as a task of its own. What they give to the rest of the program is in fields of
//! [`Parts`]; they need nothing of it but readiness and metrics.

use std::{future::Future, pin::Pin};

use contract::control_plane;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::Client;
use prometheus_client::registry::Registry;
use runtime::readiness::Readiness;
use time::OffsetDateTime;

use super::{
    Bundle, Clients, Context, ServingCertificate, Settings, authority,
    events::{self, Events, Object, Subjects},
    lease,
    namespaces::{self, Directory},
    nodes::{self, Kubelets},
    owner::Owner,
    trust_bundle::Publisher,
    webhook_configuration::{Keeper, Tags},
};
use crate::{
    ca::Issuing,
    config::{Certificates, of_revision},
    configuration::Followed,
    metrics,
    policy::{self, status::writer::Writer},
};

/// The mesh's trust domain. That of the mesh configuration names workloads; a root's own name is seen by people only.
const TRUST_DOMAIN: &str = "cluster.local";

/// Goes on for ever; the name is for logs.
pub type Part = (&'static str, Pin<Box<dyn Future<Output = ()> + Send>>);

/// What the cluster gives to the program, and the tasks that keep it in step.
pub struct Parts {
    /// What says things to whoever runs the mesh.
    pub events: Events,
    /// What is known of namespaces.
    pub namespaces: Directory,
    /// What is known of nodes, if that matters.
    pub kubelets: Option<Followed>,
    /// The user's policies.
    pub policies: policy::Published,
    /// The authority's certificate for the webhook and for gRPC.
    pub certificate: ServingCertificate,
    /// The authority, for workloads.
    pub issuing: Issuing,
    /// What the thread of gRPC works with.
    pub sidecars: Context,
    /// The tasks.
    pub tasks: Vec<Part>,
}

// === impl Parts ===

impl Parts {
    /// Puts everything together that `settings` ask for; nothing is asked of the API server before the tasks run.
    #[must_use]
    pub fn build(
        clients: Clients,
        settings: &Settings,
        readiness: &Readiness,
        registry: &mut Registry,
    ) -> Self {
        let mut tasks: Vec<Part> = Vec::new();
        let events = events(&clients.webhook, settings, registry, &mut tasks);
        let context = Context {
            owner: Owner::new(&clients.webhook, settings.owner_cluster_role.clone()),
            namespace: settings.namespace.as_str().into(),
            events: events.clone(),
            readiness: readiness.clone(),
            client: clients.webhook,
        };
        let authority = authority::start(
            &context,
            authority::Settings {
                names: settings.names.clone(),
                trust_domain: TRUST_DOMAIN.to_owned(),
                periods: settings.rotation,
                clock: std::sync::Arc::new(OffsetDateTime::now_utc),
            },
            authority::Metrics::register(registry),
        );
        tasks.push(("authority", Box::pin(authority.task)));

        let namespaces = Directory::new(settings.platform);
        let (follower, spaces) = namespaces::channel(context.clone(), namespaces.clone());
        tasks.push(("namespaces", Box::pin(follower.run())));
        let publisher = Publisher::new(
            context.clone(),
            authority.bundle.clone(),
            spaces,
            metrics::TrustBundle::register(registry),
        );
        tasks.push(("trust bundle", Box::pin(publisher.run())));

        let policies = policies(&context, settings, registry, &mut tasks);

        // Whoever provides the certificate knows what it is to be trusted by; the authority's roots say nothing about it.
        let patched = matches!(settings.certificates, Certificates::Authority);
        if patched {
            webhooks(&context, settings, &authority.bundle, registry, &mut tasks);
        }
        let kubelets = settings
            .follow_nodes
            .then(|| kubelets(&context, &mut tasks));
        Self {
            events,
            namespaces,
            kubelets,
            policies,
            certificate: authority.certificate,
            issuing: authority.issuing,
            sidecars: Context {
                client: clients.sidecars,
                ..context
            },
            tasks,
        }
    }
}

fn kubelets(context: &Context, tasks: &mut Vec<Part>) -> Followed {
    let kubelets = Kubelets::default();
    let task = nodes::run(context.clone(), kubelets.clone());
    tasks.push(("nodes", Box::pin(task)));
    Followed {
        kubelets,
        guard: context.readiness.register("nodes"),
    }
}

fn events(
    client: &Client,
    settings: &Settings,
    registry: &mut Registry,
    tasks: &mut Vec<Part>,
) -> Events {
    let Some(pod) = &settings.pod_name else {
        return Events::silent();
    };
    let subjects = Subjects {
        pod: Object::core("Pod", &settings.namespace, pod),
        config_map: Object::core("ConfigMap", &settings.namespace, &settings.config_map),
        workloads: settings.workload_events,
    };
    let metrics = events::Metrics::register(registry);
    let (events, writer) = events::channel(client.clone(), subjects, metrics);
    tasks.push(("events", Box::pin(writer.run())));
    events
}

/// The webhook configurations, as far as they are to be kept in step.
fn webhooks(
    context: &Context,
    settings: &Settings,
    bundle: &Bundle,
    registry: &mut Registry,
    tasks: &mut Vec<Part>,
) {
    let metrics = metrics::WebhookPatches::register(registry);
    if let Some(name) = settings.webhook_configuration.clone() {
        let revision = &settings.revision;
        let tags = Tags::new(context.clone(), revision, bundle.clone(), metrics.clone());
        tasks.push(("revision tags", Box::pin(tags.run())));
        let keeper = Keeper::<MutatingWebhookConfiguration>::new(
            context.clone(),
            name,
            bundle.clone(),
            metrics.clone(),
        );
        tasks.push(("webhook configuration", Box::pin(keeper.run())));
    }
    if let Some(name) = settings.validation_configuration.clone() {
        let keeper = Keeper::<ValidatingWebhookConfiguration>::new(
            context.clone(),
            name,
            bundle.clone(),
            metrics,
        );
        tasks.push(("validating webhook configuration", Box::pin(keeper.run())));
    }
}

/// The user's policies. Those of the whole mesh are in the control plane's own namespace.
fn policies(
    context: &Context,
    settings: &Settings,
    registry: &mut Registry,
    tasks: &mut Vec<Part>,
) -> policy::Published {
    let (follower, published, objects) = policy::follower::channel(
        context.clone(),
        settings.namespace.clone(),
        settings.revision.clone(),
        policy::metrics::Policies::register(registry),
    );
    tasks.push(("policies", Box::pin(follower.run())));
    let name = of_revision(control_plane::LEADER_LEASE, &settings.revision);
    let identity = settings.pod_name.clone().unwrap_or_else(lease::identity);
    let (candidate, leadership) = lease::candidate(context.clone(), name, identity);
    tasks.push(("leader lease", Box::pin(candidate.run())));
    let writer = Writer::new(
        context.clone(),
        objects,
        published.clone(),
        leadership,
        policy::metrics::Status::register(registry),
    );
    tasks.push(("policy status", Box::pin(writer.run())));
    published
}

/// What a person is to look at when the mounted configuration is wrong.
#[must_use]
pub fn config_maps(revision: &str, namespace: &str) -> String {
    let of_revision = |name| of_revision(name, revision);
    format!(
        "ConfigMaps {} and {} in namespace {namespace}",
        of_revision(control_plane::SIDECAR_INJECTOR),
        of_revision(control_plane::MESH_CONFIG_MAP)
    )
}
