//! The parts that work in a cluster, put together.
//!
//! `app` builds them once there is a client and runs each as a task of its own. What they give to the rest of the program is in fields of
//! [`Parts`]; they need nothing of it but readiness and metrics.

use std::{future::Future, pin::Pin, sync::Arc};

use contract::control_plane;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::Client;
use prometheus_client::registry::Registry;
use runtime::readiness::Readiness;
use time::OffsetDateTime;

use super::{
    Bundle, Clients, Context, ServingCertificate, Settings, account_secrets, authority,
    events::{self, Events, Object, Subjects},
    lease::{self, Leadership},
    namespaces::{self, Directory},
    nodes::{self, Kubelets},
    owner::Owner,
    trust_bundle::{self, Publisher},
    webhook_configuration::{Keeper, Tags},
};
use crate::{
    ca::{Issuing, TrustDomain},
    config::{Certificates, of_revision},
    configuration::Followed,
    metrics,
    policy::{self, RootNamespace, status::writer::Writer},
};

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
    /// What is to be done once the program drains, when the tasks have been dropped.
    pub endings: Vec<Part>,
}

// === impl Parts ===

impl Parts {
    /// Puts everything together that `settings` ask for, in the mesh of this trust domain and root namespace; nothing is asked of the API server before the tasks run.
    #[must_use]
    pub fn build(
        clients: Clients,
        settings: &Settings,
        (trust_domain, root): (TrustDomain, RootNamespace),
        readiness: &Readiness,
        registry: &mut Registry,
    ) -> Self {
        let mut endings = Vec::new();
        let mut tasks: Vec<Part> = Vec::new();
        let events = events(&clients.webhook, settings, registry, &mut tasks);
        let context = context(clients.webhook, settings, readiness, &events);
        let domain = Arc::clone(&trust_domain);
        let authority = authority::start(
            &context,
            authority::Settings {
                names: settings.names.clone(),
                trust_domain,
                periods: settings.rotation,
                clock: Arc::new(OffsetDateTime::now_utc),
            },
            authority::Metrics::register(registry),
        );
        tasks.push(("authority", Box::pin(authority.task)));

        let directory = publishers(
            &context,
            &authority.bundle,
            &authority.revoked,
            settings,
            registry,
            &mut tasks,
        );
        let leadership = leadership(&context, settings, &mut tasks, &mut endings);
        let policies = policies(
            &context,
            settings,
            (leadership.clone(), root),
            registry,
            &mut tasks,
        );
        if settings.account_secrets {
            let signing = (authority.issuing.clone(), domain);
            let keeper = account_secrets(&context, settings, signing, leadership, registry);
            tasks.push(("account Secrets", Box::pin(keeper.run())));
        }

        // Whoever provides the certificate knows what it is to be trusted by; the authority's roots say nothing about it.
        if matches!(settings.certificates, Certificates::Authority) {
            webhooks(&context, settings, &authority.bundle, registry, &mut tasks);
        }
        let kubelets = settings
            .follow_nodes
            .then(|| kubelets(&context, &mut tasks));
        Self {
            events,
            namespaces: directory,
            kubelets,
            policies,
            certificate: authority.certificate,
            issuing: authority.issuing,
            sidecars: Context {
                client: clients.sidecars,
                ..context
            },
            tasks,
            endings,
        }
    }
}

fn context(client: Client, settings: &Settings, readiness: &Readiness, events: &Events) -> Context {
    Context {
        owner: Owner::new(&client, settings.owner_cluster_role.clone()),
        namespace: settings.namespace.as_str().into(),
        events: events.clone(),
        readiness: readiness.clone(),
        client,
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

/// What goes into every namespace, and what is known of these.
fn publishers(
    context: &Context,
    roots: &Bundle,
    revoked: &Bundle,
    settings: &Settings,
    registry: &mut Registry,
    tasks: &mut Vec<Part>,
) -> Directory {
    let directory = Directory::new(settings.platform);
    let mut follower = namespaces::Follower::new(context.clone(), directory.clone());
    for (publication, text) in [
        (trust_bundle::ROOTS, roots.clone()),
        (trust_bundle::REVOCATIONS, revoked.clone()),
    ] {
        let (metric, name) = (publication.metric, publication.name);
        let metrics = metrics::Writes::register(registry, metric, name);
        let spaces = follower.listen();
        let publisher = Publisher::new(publication, context.clone(), text, spaces, metrics);
        tasks.push((name, Box::pin(publisher.run())));
    }
    tasks.push(("namespaces", Box::pin(follower.run())));
    directory
}

fn account_secrets(
    context: &Context,
    settings: &Settings,
    (issuing, trust_domain): (Issuing, TrustDomain),
    leadership: Leadership,
    registry: &mut Registry,
) -> account_secrets::Keeper {
    let what = "certificates of service accounts";
    let metrics = metrics::Writes::register(registry, "account_secrets", what);
    let made_by = account_secrets::Settings {
        issuing,
        trust_domain,
        lifetimes: settings.lifetimes,
        clock: Arc::new(OffsetDateTime::now_utc),
    };
    account_secrets::Keeper::new(context.clone(), made_by, leadership, metrics)
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

/// The user's policies. Those of the whole mesh are in the namespace `root`.
fn policies(
    context: &Context,
    settings: &Settings,
    (leadership, root): (Leadership, RootNamespace),
    registry: &mut Registry,
    tasks: &mut Vec<Part>,
) -> policy::Published {
    let (follower, published, objects) = policy::follower::channel(
        context.clone(),
        root,
        settings.revision.clone(),
        policy::metrics::Policies::register(registry),
    );
    tasks.push(("policies", Box::pin(follower.run())));
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

/// The part in the election of the one replica that writes what all could.
fn leadership(
    context: &Context,
    settings: &Settings,
    tasks: &mut Vec<Part>,
    endings: &mut Vec<Part>,
) -> Leadership {
    let name = of_revision(control_plane::LEADER_LEASE, &settings.revision);
    let identity = settings.pod_name.clone().unwrap_or_else(lease::identity);
    let (candidate, leadership) = lease::candidate(context.clone(), name, identity);
    endings.push(("leader lease", Box::pin(candidate.release().run())));
    tasks.push(("leader lease", Box::pin(candidate.run())));
    leadership
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
