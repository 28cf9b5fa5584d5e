//! What an object's author is told in its status.
//!
//! Two conditions: `Accepted`, whether the object can work, and `Effective`, whether all that it says is acted on. They follow from the objects alone,
//! so every replica would write the same; [`writer`] writes it. Pure but for that.

pub mod writer;

use contract::policy::{ACCEPTED, EFFECTIVE};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use serde_json::{Value, json};

use super::{
    Policies,
    check::{Checked, Finding, sentence},
    ledger::Judged,
    object::has_type,
};

/// The longest message (`maxLength` of Kubernetes' own conditions).
const MAX_MESSAGE: usize = 32_768;

/// What a condition is to say.
struct Wanted {
    kind: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

/// The conditions that an object is to have at `now`, with those of others as they are; nothing if it has them.
#[must_use]
pub fn conditions(judged: &Judged, policies: &Policies, now: Timestamp) -> Option<Vec<Value>> {
    let object = &judged.object;
    let generation = object.metadata.generation;
    let mut list = object.conditions();
    let mut is_changed = false;
    for wanted in wanted(&judged.verdict, policies) {
        let present = object.condition(wanted.kind);
        if present
            .as_ref()
            .is_some_and(|present| wanted.is(present, generation))
        {
            continue;
        }
        is_changed = true;
        let since = present.filter(|present| present.status == status(wanted.holds));
        let since = since.map_or_else(|| Time(now), |present| present.last_transition_time);
        let condition = json!({
            "type": wanted.kind,
            "status": status(wanted.holds),
            "reason": wanted.reason,
            "message": wanted.message,
            "observedGeneration": generation,
            "lastTransitionTime": since,
        });
        list.retain(|condition| !has_type(condition, wanted.kind));
        list.push(condition);
    }
    is_changed.then_some(list)
}

fn wanted(verdict: &Result<Checked, Vec<Finding>>, policies: &Policies) -> [Wanted; 2] {
    let checked = match verdict {
        Ok(checked) => checked,
        Err(problems) => {
            let message = sentence(problems);
            return [
                Wanted::new(ACCEPTED, false, "Invalid", message),
                Wanted::new(
                    EFFECTIVE,
                    false,
                    "NotAccepted",
                    "the policy is as if it were not there",
                ),
            ];
        }
    };
    let accepted = Wanted::new(ACCEPTED, true, "Valid", "the policy can work");
    let policy = checked.policy.as_ref();
    let elder = policy.and_then(|policy| policies.elder(policy));
    let effective = if policy.is_none() {
        Wanted::new(
            EFFECTIVE,
            false,
            "SelectsNothing",
            sentence(&checked.remarks),
        )
    } else if let Some(elder) = elder {
        let message = format!(
            "policy {} is for the same pods and older, and only the oldest counts; delete one of them",
            elder.policy.resource_name()
        );
        Wanted::new(EFFECTIVE, false, "OlderPolicyCounts", message)
    } else if checked.remarks.is_empty() {
        Wanted::new(EFFECTIVE, true, "InForce", "all of it is acted on")
    } else {
        let message = sentence(&checked.remarks);
        Wanted::new(EFFECTIVE, false, "FieldsNotActedOn", message)
    };
    [accepted, effective]
}

fn status(holds: bool) -> &'static str {
    if holds { "True" } else { "False" }
}

// === impl Wanted ===

impl Wanted {
    fn new(
        kind: &'static str,
        holds: bool,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        Self {
            kind,
            holds,
            reason,
            message,
        }
    }

    fn is(&self, present: &Condition, generation: Option<i64>) -> bool {
        present.status == status(self.holds)
            && present.reason == self.reason
            && present.message == self.message
            && present.observed_generation == generation
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::{check::check, object::Object};

    fn judged(object: &Value) -> Judged {
        let object: Object = serde_json::from_value(object.clone()).expect("an object");
        let verdict = check(&object, "istio-system");
        Judged {
            object: Arc::new(object),
            verdict: Arc::new(verdict),
        }
    }

    fn object(namespace: &str, name: &str, created: &str, spec: &Value) -> Value {
        json!({
            "metadata": {
                "name": name,
                "namespace": namespace,
                "creationTimestamp": created,
                "generation": 3,
            },
            "spec": spec,
        })
    }

    fn told(object: &Value, others: &[&Value]) -> Vec<String> {
        let policies = others
            .iter()
            .map(|other| judged(other))
            .filter_map(|judged| judged.verdict.as_ref().as_ref().ok()?.policy.clone());
        let policies = Policies::new("istio-system", policies);
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let conditions = conditions(&judged(object), &policies, now).unwrap_or_default();
        let line = |condition: &Value| {
            let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
            assert_eq!(condition["observedGeneration"], 3);
            format!(
                "{} {} {}: {}",
                text("type"),
                text("status"),
                text("reason"),
                text("message")
            )
        };
        conditions.iter().map(line).collect()
    }

    #[test]
    fn authors_are_told_what_became_of_their_policy() {
        let day = |day: u8| format!("2026-01-0{day}T00:00:00Z");
        let selector = json!({"matchLabels": {"app": "web"}});
        let good = object("shop", "b", &day(2), &json!({"mtls": {"mode": "STRICT"}}));
        let older = object("shop", "z", &day(1), &json!({}));
        let table: [(Value, &[&Value], [&str; 2]); 5] = [
            (
                good.clone(),
                &[&good],
                ["Accepted True Valid:", "Effective True InForce:"],
            ),
            (
                object("shop", "c", &day(1), &json!({"mtls": {"mode": "x"}})),
                &[],
                [
                    "Accepted False Invalid: spec.mtls.mode: `x`",
                    "Effective False NotAccepted:",
                ],
            ),
            (
                object(
                    "shop",
                    "d",
                    &day(1),
                    &json!({"selector": selector, "extra": 1}),
                ),
                &[],
                [
                    "Accepted True Valid:",
                    "Effective False FieldsNotActedOn: spec.extra: is not known",
                ],
            ),
            (
                object("istio-system", "e", &day(1), &json!({"selector": selector})),
                &[],
                [
                    "Accepted True Valid:",
                    "Effective False SelectsNothing: spec.selector: selects",
                ],
            ),
            (
                good.clone(),
                &[&good, &older],
                [
                    "Accepted True Valid:",
                    "Effective False OlderPolicyCounts: policy shop/z is",
                ],
            ),
        ];
        for (object, others, expected) in table {
            let told = told(&object, others);
            assert_eq!(told.len(), 2, "{told:?}");
            for (told, expected) in told.iter().zip(expected) {
                assert!(told.starts_with(expected), "{told}");
            }
        }
    }

    #[test]
    fn what_is_told_already_is_left_alone_and_so_is_what_others_say() {
        let now = |seconds| Timestamp::from_second(1_800_000_000_i64 + seconds).unwrap();
        let policies = Policies::default();
        let mut object = object("shop", "b", "2026-01-01T00:00:00Z", &json!({}));
        let others = json!({"type": "Reconciled", "status": "True", "message": "by another"});
        object["status"] = json!({"conditions": [others], "more": 1});
        let written = conditions(&judged(&object), &policies, now(0)).expect("news");
        assert_eq!(written[0], others);
        object["status"]["conditions"] = json!(written);
        assert_eq!(conditions(&judged(&object), &policies, now(5)), None);

        // A new generation that is judged alike keeps the time of the last transition.
        object["metadata"]["generation"] = json!(4);
        let again = conditions(&judged(&object), &policies, now(9)).expect("news");
        assert_eq!(again.len(), 3);
        for (before, after) in written[1..].iter().zip(&again[1..]) {
            assert_eq!(before["lastTransitionTime"], after["lastTransitionTime"]);
            assert_eq!(after["observedGeneration"], 4);
        }
        object["spec"] = json!({"mtls": {"mode": "x"}});
        let refused = conditions(&judged(&object), &policies, now(9)).expect("news");
        assert_ne!(
            refused[1]["lastTransitionTime"],
            again[1]["lastTransitionTime"]
        );
    }

    #[test]
    fn a_condition_that_makes_no_sense_is_replaced() {
        let mut object = object("shop", "b", "2026-01-01T00:00:00Z", &json!({}));
        object["status"] = json!({"conditions": [{"type": "Accepted", "status": 1}, 7, {}]});
        let now = Timestamp::from_second(0).unwrap();
        let written = conditions(&judged(&object), &Policies::default(), now).expect("news");
        let kinds: Vec<_> = written.iter().map(|one| one["type"].as_str()).collect();
        assert_eq!(kinds, [None, None, Some("Accepted"), Some("Effective")]);
    }
}
