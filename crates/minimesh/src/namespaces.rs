//! Which namespace a resource is in, and what is known of that namespace.
//!
//! Asked for each resource that holds a pod. To injection a namespace's object matters on OpenShift alone, where it has the users that its pods
//! may run as; to the choice of pods its labels matter everywhere. It is read from the cluster once for each name, and only where it matters.

use std::{cell::RefCell, collections::BTreeMap};

use anyhow::ensure;
use serde_json::Value;
use template::{Namespace, yaml};

use crate::{args::ConfigurationArgs, cluster::Cluster, input};

/// The namespaces of one run.
pub(crate) struct Namespaces<'a> {
    default_name: String,
    known: RefCell<BTreeMap<String, Namespace>>,
    /// The cluster, where its objects matter.
    cluster: Option<&'a Cluster>,
}

// === impl Namespaces ===

impl<'a> Namespaces<'a> {
    /// `given` is what --namespace-object holds; objects are read from `cluster` if they matter.
    pub(crate) fn new(
        args: &ConfigurationArgs,
        given: Option<Namespace>,
        cluster: Option<&'a Cluster>,
        objects_matter: bool,
    ) -> Self {
        let default_name = match (&given, args.namespace.as_deref(), cluster) {
            (Some(given), _, _) => given.name.clone(),
            (None, Some(name), _) if !name.is_empty() => name.to_owned(),
            (None, _, Some(cluster)) => cluster.default_namespace().to_owned(),
            (None, _, None) => "default".to_owned(),
        };
        let known = given.map(|given| (given.name.clone(), given));
        Self {
            default_name,
            known: RefCell::new(known.into_iter().collect()),
            cluster: cluster.filter(|_| objects_matter),
        }
    }

    /// The namespace of what names none.
    pub(crate) fn default_name(&self) -> &str {
        &self.default_name
    }

    /// The namespace that `resource` is in.
    ///
    /// # Errors
    /// Its object is needed and cannot be read.
    pub(crate) fn of(&self, resource: &Value) -> anyhow::Result<Namespace> {
        let named = resource.pointer("/metadata/namespace");
        let name = named.and_then(Value::as_str).unwrap_or(&self.default_name);
        if let Some(known) = self.known.borrow().get(name) {
            return Ok(known.clone());
        }
        let object = match self.cluster {
            Some(cluster) => cluster.namespace(name)?,
            None => None,
        };
        let namespace = object.map_or_else(|| Namespace::named(name), Namespace::of);
        let mut known = self.known.borrow_mut();
        known.insert(name.to_owned(), namespace.clone());
        Ok(namespace)
    }
}

/// Reads what --namespace-object names.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub(crate) fn given(args: &ConfigurationArgs) -> anyhow::Result<Option<Namespace>> {
    let Some(path) = &args.namespace_object else {
        return Ok(None);
    };
    let origin = input::shown(path);
    let object = yaml::parse(&origin, &input::read("--namespace-object", path)?)?;
    let is_namespace = object.get("kind").and_then(Value::as_str) == Some("Namespace");
    let namespace = Namespace::of(object);
    ensure!(
        is_namespace && !namespace.name.is_empty(),
        "--namespace-object {origin} holds no Namespace with a name"
    );
    Ok(Some(namespace))
}
