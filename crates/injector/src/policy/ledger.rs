//! What is known of the objects.
//!
//! The `follower` tells it what the watch says, and publishes what comes out: the objects with their verdicts, for their status, and the policies
//! in force. A list takes the place of what was known only once it is whole. Pure.

use std::{collections::BTreeMap, sync::Arc};

use kube::runtime::watcher::Event;

use super::{
    Policies,
    check::{Checked, Finding, check},
    object::Object,
};

/// An object and what is thought of it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The object, as it was last seen.
    pub object: Arc<Object>,
    /// Whether it can work.
    pub verdict: Arc<Result<Checked, Vec<Finding>>>,
}

/// All objects, by `NAMESPACE/NAME`.
pub type Objects = BTreeMap<String, Judged>;

/// The objects as the watch tells them.
#[derive(Debug)]
pub(super) struct Ledger {
    root_namespace: Arc<str>,
    /// Objects that name another revision are another control plane's.
    revision: String,
    objects: Objects,
    /// The list that is being read.
    listing: Option<Objects>,
}

// === impl Ledger ===

impl Ledger {
    pub(super) fn new(root_namespace: Arc<str>, revision: String) -> Self {
        Self {
            root_namespace,
            revision,
            objects: Objects::new(),
            listing: None,
        }
    }

    /// Takes note; says whether the objects are known now and may have changed.
    pub(super) fn observe(&mut self, event: Event<Object>) -> bool {
        match event {
            Event::Init => {
                self.listing = Some(Objects::new());
                false
            }
            Event::InitApply(object) => {
                if object.is_of(&self.revision) {
                    let (key, judged) = self.judge(object);
                    self.listing.get_or_insert_default().insert(key, judged);
                }
                false
            }
            Event::InitDone => {
                self.objects = self.listing.take().unwrap_or_default();
                true
            }
            Event::Apply(object) if object.is_of(&self.revision) => {
                let (key, judged) = self.judge(object);
                self.objects.insert(key, judged);
                true
            }
            Event::Apply(object) | Event::Delete(object) => {
                self.objects.remove(&object.key());
                true
            }
        }
    }

    /// Judges everything anew for a mesh whose own policies are in `root_namespace`.
    pub(super) fn move_root(&mut self, root_namespace: Arc<str>) {
        self.root_namespace = root_namespace;
        let listing = self.listing.iter_mut().flat_map(BTreeMap::values_mut);
        for judged in self.objects.values_mut().chain(listing) {
            judged.verdict = Arc::new(check(&judged.object, &self.root_namespace));
        }
    }

    /// All objects with their verdicts.
    pub(super) fn objects(&self) -> &Objects {
        &self.objects
    }

    /// How many objects cannot work.
    pub(super) fn n_refused(&self) -> usize {
        let verdicts = self.objects.values().map(|judged| &judged.verdict);
        verdicts.filter(|verdict| verdict.is_err()).count()
    }

    /// The policies in force.
    pub(super) fn policies(&self) -> Policies {
        let checked = self
            .objects
            .values()
            .filter_map(|judged| Result::as_ref(&judged.verdict).ok());
        let policies = checked.filter_map(|checked| checked.policy.clone());
        Policies::new(&self.root_namespace, policies)
    }

    /// The verdict that was there is kept while what it is about stays the same, as it does when a status is written.
    fn judge(&self, object: Object) -> (String, Judged) {
        let key = object.key();
        let before = self.objects.get(&key).filter(|before| {
            let (old, new) = (&before.object.metadata, &object.metadata);
            before.object.spec == object.spec && old.creation_timestamp == new.creation_timestamp
        });
        let verdict = match before {
            Some(before) => Arc::clone(&before.verdict),
            None => Arc::new(check(&object, &self.root_namespace)),
        };
        let object = Arc::new(object);
        (key, Judged { object, verdict })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use wire::peer_authentication::Mode;

    use super::*;

    fn object(name: &str, spec: &Value) -> Object {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "shop"},
            "spec": spec,
        }))
        .expect("an object")
    }

    fn ledger() -> Ledger {
        Ledger::new("istio-system".into(), "default".to_owned())
    }

    fn names(ledger: &Ledger) -> Vec<String> {
        let policies = ledger.policies();
        let names = policies.iter().map(|policy| policy.policy.name.clone());
        names.collect()
    }

    #[test]
    fn a_new_list_replaces_the_old_one_once_it_is_whole() {
        let mut ledger = ledger();
        assert!(!ledger.observe(Event::Init));
        assert!(!ledger.observe(Event::InitApply(object("old", &json!({})))));
        assert!(ledger.observe(Event::InitDone));
        assert!(!ledger.observe(Event::Init));
        assert!(!ledger.observe(Event::InitApply(object("new", &json!({})))));
        assert_eq!(names(&ledger), ["old"]);
        assert!(ledger.observe(Event::InitDone));
        assert_eq!(names(&ledger), ["new"]);
        ledger.observe(Event::Delete(object("new", &json!({}))));
        assert_eq!(names(&ledger), [""; 0]);
    }

    #[test]
    fn an_object_that_cannot_work_is_out_of_force_and_stops_no_other() {
        let strict = json!({"mtls": {"mode": "STRICT"}});
        let mut ledger = ledger();
        ledger.observe(Event::Apply(object("good", &strict)));
        ledger.observe(Event::Apply(object("other", &strict)));
        ledger.observe(Event::Apply(object(
            "other",
            &json!({"mtls": {"mode": "x"}}),
        )));
        assert_eq!(names(&ledger), ["good"]);
        assert_eq!(ledger.n_refused(), 1);
        let policies = ledger.policies();
        assert_eq!(
            policies.effective("shop", &BTreeMap::new(), 80),
            Mode::Strict
        );
        ledger.observe(Event::Apply(object("other", &strict)));
        assert_eq!(names(&ledger), ["good", "other"]);
        assert_eq!(ledger.n_refused(), 0);
    }

    #[test]
    fn what_is_for_the_whole_mesh_moves_with_the_root_namespace() {
        let strict = json!({"mtls": {"mode": "STRICT"}});
        let mut ledger = ledger();
        ledger.observe(Event::Apply(object("all", &strict)));
        let elsewhere = |ledger: &Ledger| {
            let policies = ledger.policies();
            policies.effective("bank", &BTreeMap::new(), 80)
        };
        assert_eq!(elsewhere(&ledger), Mode::Permissive);
        ledger.move_root("shop".into());
        assert_eq!(elsewhere(&ledger), Mode::Strict);
        ledger.move_root("istio-system".into());
        assert_eq!(elsewhere(&ledger), Mode::Permissive);
    }

    #[test]
    fn objects_of_other_revisions_are_none_of_ours() {
        let mut ledger = ledger();
        let labelled = |name, revision: Option<&str>| {
            let mut object = object(name, &json!({}));
            object.metadata.labels =
                revision.map(|revision| [("istio.io/rev".to_owned(), revision.to_owned())].into());
            object
        };
        ledger.observe(Event::InitApply(labelled("canary", Some("canary"))));
        ledger.observe(Event::InitApply(labelled("ours", Some("default"))));
        ledger.observe(Event::InitApply(labelled("everybody", None)));
        ledger.observe(Event::InitDone);
        assert_eq!(names(&ledger), ["everybody", "ours"]);
        ledger.observe(Event::Apply(labelled("ours", Some("canary"))));
        assert_eq!(names(&ledger), ["everybody"]);
    }
}
