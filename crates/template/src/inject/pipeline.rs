//! The pipeline: validate, render, merge, adjust.
//!
//! Run by `inject` for a pod that is to have a sidecar.
//! The steps and their order are Istio's (`pkg/kube/inject`), but injecting an injected pod changes nothing.

mod any_pod;
mod earlier;
mod environment;

use std::{borrow::Cow, collections::BTreeMap};

use contract::{annotations, env, labels, pod::PROXY_CONTAINER};
use serde_json::{Map, Value};

pub(crate) use self::any_pod::OWN_CONTAINERS;
use self::{earlier::Earlier, environment::environment};
use super::Request;
use crate::{
    bypass,
    config::{Compiled, Config},
    error::Error,
    gotemplate::Observer,
    merge::{self, Directives},
    openshift,
    options::{Options, Platform},
    order, overrides,
    owner::Owner,
    pod, probes, prometheus, proxy_config,
    record::{self, Overrides, Status},
    render::{self, Context, Rendered},
    structure::{self, Authored, Watch},
    uninject, validate,
    warning::Warning,
};

/// One pod on its way.
pub(crate) struct Injection<'a> {
    config: &'a Compiled,
    options: &'a Options,
    request: &'a Request<'a>,
    /// The pod as it came, apart from ids that OpenShift assigned.
    original: Cow<'a, Value>,
    status: Option<Status>,
    overrides: Overrides,
    proxy_config: Cow<'a, Value>,
    /// The author's part of it.
    own_proxy_config: Map<String, Value>,
    status_port: u16,
    environment: BTreeMap<String, String>,
    warnings: Vec<Warning>,
}

// === impl Injection ===

impl<'a> Injection<'a> {
    pub(crate) fn new(
        config: &'a Config,
        request: &'a Request<'a>,
        warnings: Vec<Warning>,
    ) -> Result<Self, Error> {
        let (compiled, options) = (config.compiled(), config.options());
        check_annotations(request.pod)?;
        let status = Status::of(request.pod);
        let mut original = Cow::Borrowed(request.pod);
        if options.platform == Platform::OpenShift && status.is_none() {
            overrides::reset_assigned_user(original.to_mut());
        }
        // It was validated above; what cannot be read there has been refused.
        let own_proxy_config = pod::annotation(request.pod, annotations::PROXY_CONFIG)
            .and_then(|text| proxy_config::parse(text).ok())
            .unwrap_or_default();
        let mut proxy_config = Cow::Borrowed(&compiled.mesh.proxy_config);
        if !own_proxy_config.is_empty() {
            let resolved = pod::as_map(proxy_config.to_mut());
            proxy_config::merge(resolved, own_proxy_config.clone());
        }
        Ok(Self {
            config: compiled,
            options,
            overrides: Overrides::of(request.pod)?,
            status_port: status_port(request.pod, &proxy_config),
            environment: environment(compiled, request),
            request,
            original,
            status,
            proxy_config,
            own_proxy_config,
            warnings,
        })
    }

    pub(super) fn run(mut self) -> Result<(Value, Vec<Warning>), Error> {
        let original = std::mem::take(&mut self.original);
        let owner = self.request.owner.clone();
        let owner = owner.unwrap_or_else(|| Owner::of(&original));
        let input = record::template_input(
            &original,
            self.status.as_ref(),
            &self.overrides,
            self.status_port,
        );
        if self.status.is_some() {
            // The record is an annotation like any other: its author may have written anything.
            check_annotations(&input)?;
        }
        let rendered = self.render(&input, &owner)?;
        let touched = uninject::touched(&rendered.patches);
        let mut merged = (*original).clone();
        let template_pod = self.merge(&mut merged, rendered.patches)?;
        let earlier = Earlier::of(&original, self.status.as_ref());
        let (mut saved, is_new) = overrides::reapply(
            &mut merged,
            &original,
            &template_pod,
            self.status.as_ref(),
            self.overrides.clone(),
        );
        if is_new {
            self.record_positions(&mut saved, &input, &owner);
        }
        // A template may have replaced all annotations.
        let is_recorded = pod::annotation(&merged, annotations::OVERRIDES).is_some();
        if is_new || !(is_recorded || saved.is_empty()) {
            pod::annotate(&mut merged, annotations::OVERRIDES, saved.to_json());
        }
        overrides::align_users(&mut merged, &saved, self.is_tproxy());
        overrides::tidy(&mut merged, &template_pod);
        self.check_bypass(&merged, &template_pod)?;
        self.adjust(&mut merged, &earlier, rendered.rewrite_probes)?;
        let mut status = Status::new(
            &template_pod,
            &merged,
            self.status.as_ref(),
            self.options.shown_revision(),
        );
        if self.config.has_own_cni_plugin() {
            status.record_capture(&template_pod, &merged);
        }
        self.annotate(&mut merged);
        if self.config.shows_metadata {
            status.record_metadata(&input, &merged);
        }
        self.order(&mut merged, &original);
        status.record_rest(uninject::rest(
            self.request.pod,
            &merged,
            (&status, self.status.as_ref()),
            &saved,
            &touched,
        ));
        pod::annotate(&mut merged, annotations::STATUS, status.to_json());
        Ok((merged, self.warnings))
    }

    /// Records where the author's containers stood, if the templates give something else where they stand at the end: else the record is as short as Istio's.
    ///
    /// They run anew for both, because hardly any pod comes here and keeping the first result would cost every pod a copy of it.
    fn record_positions(&self, saved: &mut Overrides, input: &Value, owner: &Owner) {
        let Some(moved) = saved.moved(input) else {
            return;
        };
        let is_same = self.render(&moved, owner).is_ok_and(|again| {
            self.render(input, owner)
                .is_ok_and(|first| again.patches == first.patches)
        });
        if !is_same {
            saved.record_positions(input);
        }
    }

    fn order(&self, merged: &mut Value, original: &Value) {
        if self.status.is_some() {
            order::keep_containers(original, merged);
        }
        order::arrange(merged, self.holds_application());
        if self.status.is_some() {
            order::keep(original, merged);
        }
    }

    /// What the templates give for `input`, in which its author's values are no more than data.
    fn render(&self, input: &Value, owner: &Owner) -> Result<Rendered, Error> {
        let names = render::selected(self.config, input);
        let namespace = self.request.namespace.name.as_str();
        let context = self.context(input, namespace, owner, &self.proxy_config);
        let watch = Watch::over(context.authored(!self.own_proxy_config.is_empty()));
        let observer = (!watch.is_empty()).then_some(&watch as &dyn Observer);
        let first = render::render(self.config, &context, &names, observer);
        let authored = || Authored {
            pod: Cow::Borrowed(input),
            owner: self.request.owner.as_ref().map(Cow::Borrowed),
            namespace: Cow::Borrowed(namespace),
            proxy_config: Cow::Borrowed(&self.own_proxy_config),
        };
        structure::checked(first, watch.is_taken(), authored, |disguised| {
            let mut proxy_config = self.config.mesh.proxy_config.clone();
            proxy_config::merge(
                pod::as_map(&mut proxy_config),
                disguised.proxy_config.clone().into_owned(),
            );
            let owner = match &disguised.owner {
                Some(owner) => owner.clone().into_owned(),
                None => Owner::of(&disguised.pod),
            };
            let context = self.context(&disguised.pod, &disguised.namespace, &owner, &proxy_config);
            render::render(self.config, &context, &names, Some(structure::masked())).ok()
        })
    }

    /// Refuses a pod that can step around the capture, where the configuration says so.
    fn check_bypass(&self, merged: &Value, template_pod: &Value) -> Result<(), Error> {
        let wish = self
            .config
            .value_text(&["sidecarInjectorWebhook", "refuseCaptureBypass"]);
        // What is no boolean was meant to be something, and refusing is the safe reading.
        if wish.is_empty() || validate::boolean(&wish) == Some(false) {
            return Ok(());
        }
        let found = bypass::find(merged, template_pod, self.proxy_ids());
        if found.is_empty() {
            Ok(())
        } else {
            Err(Error::CaptureBypass { found })
        }
    }

    fn proxy_ids(&self) -> (i64, i64) {
        match self.options.platform {
            Platform::OpenShift => openshift::proxy_ids(self.request.namespace.object.as_ref()),
            Platform::Kubernetes => openshift::proxy_ids(None),
        }
    }

    fn context<'c>(
        &'c self,
        input: &'c Value,
        namespace: &str,
        owner: &Owner,
        proxy_config: &'c Value,
    ) -> Context<'c> {
        Context::new(
            self.config,
            self.options,
            input,
            namespace,
            owner,
            proxy_config,
            self.proxy_ids(),
        )
    }

    /// Lays the templates' results over the pod; gives the names that are in them, as [`overrides::outline`] has them.
    fn merge(&self, merged: &mut Value, patches: Vec<(String, Value)>) -> Result<Value, Error> {
        let mut template_pod = Value::Object(Map::new());
        for (name, mut patch) in patches {
            overrides::follow(&mut patch, &template_pod);
            overrides::relocate(merged, &patch, self.status.as_ref());
            let outline = overrides::outline(&patch);
            merge::pod(&mut template_pod, outline, Directives::Obey)
                .and_then(|()| merge::pod(merged, patch, Directives::Obey))
                .map_err(|source| Error::Merge { name, source })?;
        }
        Ok(template_pod)
    }

    /// What templates cannot do: variables from outside, metrics, probes.
    fn adjust(
        &mut self,
        merged: &mut Value,
        earlier: &Earlier,
        template_rewrites: Option<bool>,
    ) -> Result<(), Error> {
        if let Some(sidecar) = pod::find_mut(merged, PROXY_CONTAINER) {
            for (name, value) in &self.environment {
                pod::set_variable_last(sidecar, name, value);
            }
            if let Some(scrape) = &earlier.scrape {
                pod::set_variable_last(sidecar, env::PROMETHEUS_ANNOTATIONS, scrape);
            }
        }
        prometheus::merge(
            merged,
            self.config.mesh.merges_prometheus(),
            self.status_port,
            &mut self.warnings,
        )?;
        prometheus::announce_secure_port(merged);
        if pod::find(merged, PROXY_CONTAINER).is_some()
            && self.rewrites_probes(merged, template_rewrites)
        {
            let probers = self.rewrite_probes(merged, earlier);
            if let Some((probers, sidecar)) = probers.zip(pod::find_mut(merged, PROXY_CONTAINER)) {
                pod::set_variable_last(sidecar, env::KUBE_APP_PROBERS, &probers);
            }
        }
        Ok(())
    }

    fn rewrite_probes(&mut self, merged: &mut Value, earlier: &Earlier) -> Option<String> {
        if self.status_port == 0 {
            self.warnings.push(Warning::NoStatusPort);
            return None;
        }
        probes::rewrite(
            merged,
            self.status_port,
            earlier.probers.as_deref(),
            &mut self.warnings,
        )
    }

    fn annotate(&self, merged: &mut Value) {
        if let Some(network) = self.environment.get(env::META_NETWORK) {
            pod::metadata_map_mut(merged, "labels")
                .insert(labels::NETWORK.to_owned(), Value::from(network.as_str()));
        }
        for (key, value) in &self.config.injected_annotations {
            pod::annotate(merged, key, value.as_str());
        }
    }

    /// By annotation, which may be a template's as well as the author's, else by what the configuration says.
    fn rewrites_probes(&self, merged: &Value, template_rewrites: Option<bool>) -> bool {
        pod::annotation(merged, annotations::REWRITE_PROBES)
            .and_then(validate::boolean)
            .or(template_rewrites)
            .or_else(|| {
                self.config
                    .value(&["sidecarInjectorWebhook", "rewriteAppHTTPProbe"])?
                    .as_bool()
            })
            .unwrap_or(false)
    }

    fn holds_application(&self) -> bool {
        let wish = |value: Option<&Value>| value.and_then(Value::as_bool).unwrap_or(false);
        wish(self.proxy_config.get("holdApplicationUntilProxyStarts"))
            || wish(
                self.config
                    .value(&["global", "proxy", "holdApplicationUntilProxyStarts"]),
            )
    }

    fn is_tproxy(&self) -> bool {
        let annotated = pod::annotation(self.request.pod, annotations::INTERCEPTION_MODE);
        annotated.or_else(|| self.proxy_config.get("interceptionMode")?.as_str()) == Some("TPROXY")
    }
}

fn check_annotations(pod: &Value) -> Result<(), Error> {
    let annotations = validate::annotations(pod);
    if annotations.is_empty() {
        Ok(())
    } else {
        Err(Error::Annotations { annotations })
    }
}

/// The port of the agent's status server; 0 if there is to be none.
fn status_port(pod: &Value, proxy_config: &Value) -> u16 {
    let annotated =
        pod::annotation(pod, annotations::STATUS_PORT).and_then(|port| port.trim().parse().ok());
    let configured = || {
        let port = proxy_config.get("statusPort")?;
        port.as_u64()
            .or_else(|| port.as_str()?.parse().ok())
            .and_then(|port| port.try_into().ok())
    };
    annotated
        .or_else(configured)
        .unwrap_or(contract::ports::STATUS)
}
