//! Who leads, when leaders go, and that there are never two. Time is the test's own.

use std::time::Duration;

use http::Method;
use injector::cluster::{
    Context,
    events::Events,
    lease::{self, Leadership, Release},
    owner::Owner,
};
use runtime::{readiness::Readiness, task::Group};
use serde_json::json;
use tokio::time::{self, Instant};

use crate::{
    api::Api,
    fixture::{Replica, SYSTEM, installed, until},
};

const LEASES: &str = "leases";
const NAME: &str = "minimesh-leader";
/// What taking over may take: the whole silence, and an attempt after it.
const TAKEOVER: Duration = Duration::from_secs(15 + 2 + 1);

/// A replica as far as the election is concerned.
struct Candidate {
    leadership: Leadership,
    release: Release,
    readiness: Readiness,
    task: Group,
}

impl Candidate {
    fn start(api: &Api, identity: &str) -> Self {
        let readiness = Readiness::new();
        let client = api.client();
        let context = Context {
            owner: Owner::new(&client, Some("injector-istio-system".to_owned())),
            namespace: SYSTEM.into(),
            events: Events::silent(),
            readiness: readiness.clone(),
            client,
        };
        let (candidate, leadership) =
            lease::candidate(context, NAME.to_owned(), identity.to_owned());
        let (task, release) = (Group::new(), candidate.release());
        let token = task.token().clone();
        task.spawn("candidate", async move {
            tokio::select! {
                () = candidate.run() => {}
                () = token.cancelled() => {}
            }
        });
        Self {
            leadership,
            release,
            readiness,
            task,
        }
    }

    fn leads(&self) -> bool {
        self.leadership.is_held()
    }

    /// It dies.
    async fn stop(self) {
        self.task.cancel();
        self.task.join(Duration::MAX).await.expect("it ends well");
    }

    /// It ends as a replica does that drains.
    async fn leave(self) {
        self.task.cancel();
        self.task.join(Duration::MAX).await.expect("it ends well");
        self.release.run().await;
    }
}

fn holder(api: &Api) -> String {
    let lease = api.get(LEASES, SYSTEM, NAME).unwrap_or_default();
    lease["spec"]["holderIdentity"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Lets `time` pass in small steps, in each of which at most one leads.
async fn pass(time: Duration, candidates: &[&Candidate]) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        time::sleep(Duration::from_millis(100)).await;
        let n_leaders = candidates.iter().filter(|one| one.leads()).count();
        assert!(n_leaders <= 1, "{n_leaders} replicas lead at once");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_replicas_one_leads_and_the_other_follows_when_it_is_gone() {
    let api = installed();
    let one = Candidate::start(&api, "one");
    pass(Duration::from_secs(1), &[&one]).await;
    assert!(one.leads());
    let lease = api.get(LEASES, SYSTEM, NAME).expect("a Lease");
    assert_eq!(lease["spec"]["leaseTransitions"], 0);
    assert_eq!(
        lease["metadata"]["ownerReferences"][0]["kind"],
        "ClusterRole"
    );

    let two = Candidate::start(&api, "two");
    pass(Duration::from_secs(60), &[&one, &two]).await;
    assert!(one.leads() && !two.leads());

    one.stop().await;
    pass(Duration::from_secs(12), &[&two]).await;
    assert!(!two.leads(), "the first one's time is not over");
    pass(TAKEOVER - Duration::from_secs(12), &[&two]).await;
    assert!(two.leads());
    assert_eq!(holder(&api), "two");
    let lease = api.get(LEASES, SYSTEM, NAME).expect("a Lease");
    assert_eq!(lease["spec"]["leaseTransitions"], 1);
    two.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_leaves_gives_the_lease_back_and_nobody_has_to_wait() {
    let api = installed();
    let one = Candidate::start(&api, "one");
    pass(Duration::from_secs(1), &[&one]).await;
    let two = Candidate::start(&api, "two");
    pass(Duration::from_secs(5), &[&one, &two]).await;
    assert!(one.leads() && !two.leads());
    one.leave().await;
    assert_eq!(holder(&api), "");
    pass(Duration::from_secs(3), &[&two]).await;
    assert!(two.leads());

    // Who does not lead has nothing to give.
    let three = Candidate::start(&api, "three");
    pass(Duration::from_secs(5), &[&two, &three]).await;
    three.leave().await;
    assert_eq!(holder(&api), "two");
    api.go_down();
    two.leave().await;
    assert_eq!(holder(&api), "two", "it runs out");
}

#[tokio::test]
async fn a_replica_that_ends_gives_the_lease_back() {
    let api = installed();
    let replica = Replica::start(&api).await;
    until("it leads", || !holder(&api).is_empty()).await;
    replica.stop().await;
    let lease = api.get(LEASES, SYSTEM, NAME).expect("a Lease");
    assert_eq!(lease["spec"]["holderIdentity"], "");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_renew_gives_up_before_anybody_else_begins() {
    let api = installed();
    let (one, two) = (Candidate::start(&api, "one"), Candidate::start(&api, "two"));
    pass(Duration::from_secs(5), &[&one, &two]).await;
    assert!(one.leads() ^ two.leads());
    api.go_down();
    pass(Duration::from_secs(9), &[&one, &two]).await;
    pass(Duration::from_secs(2), &[&one, &two]).await;
    assert!(!one.leads() && !two.leads());
    assert!(
        one.readiness
            .report()
            .to_string()
            .contains("connection refused")
    );
    pass(Duration::from_secs(60), &[&one, &two]).await;
    api.come_back();
    pass(TAKEOVER, &[&one, &two]).await;
    assert!(one.leads() ^ two.leads());
    one.stop().await;
    two.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_else_has_taken_is_lost_at_the_next_look() {
    let api = installed();
    let one = Candidate::start(&api, "one");
    pass(Duration::from_secs(1), &[&one]).await;
    let mut leadership = one.leadership.clone();
    let ended = leadership.while_held(async {
        let stolen = json!({
            "metadata": {"name": NAME},
            // By a clock that is years off, which must not matter.
            "spec": {"holderIdentity": "thief", "renewTime": "1999-01-01T00:00:00.000000Z"},
        });
        api.put(LEASES, SYSTEM, stolen);
        time::sleep(Duration::from_secs(5)).await;
    });
    assert_eq!(ended.await, None, "the work goes on under another's Lease");
    pass(Duration::from_secs(10), &[&one]).await;
    assert!(!one.leads());
    assert_eq!(holder(&api), "thief");
    pass(TAKEOVER, &[&one]).await;
    assert!(one.leads(), "the thief is not heard of any more");
    one.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_it_nobody_leads_and_readiness_says_why() {
    let api = installed();
    api.fail(Method::POST, LEASES, 403, "leases is forbidden");
    let one = Candidate::start(&api, "one");
    pass(Duration::from_secs(30), &[&one]).await;
    assert!(!one.leads());
    let report = one.readiness.report().to_string();
    assert!(
        report.contains("leases is forbidden") && report.contains("Role"),
        "{report}"
    );
    api.mend();
    pass(Duration::from_secs(5), &[&one]).await;
    assert!(one.leads());
    assert_eq!(one.readiness.report().to_string(), "ready\n");
    one.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_deleted_or_empty_is_made_again() {
    let api = installed();
    api.put(LEASES, SYSTEM, json!({"metadata": {"name": NAME}}));
    let one = Candidate::start(&api, "one");
    pass(Duration::from_secs(1), &[&one]).await;
    assert_eq!(holder(&api), "one");
    api.delete(LEASES, SYSTEM, NAME);
    pass(Duration::from_secs(4), &[&one]).await;
    assert_eq!(holder(&api), "one");
    assert!(one.leads());
    one.stop().await;
}
