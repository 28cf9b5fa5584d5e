//! Which endpoint of a service takes a request.
//!
//! Two are drawn at random and the one with fewer requests at hand is taken (power of two choices), Istio's `LEAST_REQUEST`. Endpoints
//! that the service prefers come first, and those that could not be reached lately after all others. A [`Load`] counts a request where
//! its endpoint is, for as long as it is held.

use std::sync::Arc;

use crate::mesh::{Endpoint, ServicePort, Standing};

/// A request at hand, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Load(Arc<Standing>);

/// The endpoint for the next request, of those that `may` take it.
pub(crate) fn pick(port: &ServicePort, may: impl Fn(&Endpoint) -> bool) -> Option<&Endpoint> {
    let is_good = |endpoint: &Endpoint| may(endpoint) && !endpoint.is_ejected();
    let good = port.tiers().find_map(|tier| draw(tier, is_good));
    good.or_else(|| port.tiers().find_map(|tier| draw(tier, &may)))
}

/// One of the endpoints that `may` be taken; nothing only where none may.
fn draw(endpoints: &[Endpoint], may: impl Fn(&Endpoint) -> bool) -> Option<&Endpoint> {
    let n = endpoints.len();
    if n < 2 {
        return endpoints.first().filter(|only| may(only));
    }
    let first = fastrand::usize(..n);
    // Any other, with the same chance for each.
    let second = (first + 1 + fastrand::usize(..n - 1)) % n;
    let (one, other) = (endpoints.get(first)?, endpoints.get(second)?);
    match (may(one), may(other)) {
        (true, true) if one.load() <= other.load() => Some(one),
        (true, false) => Some(one),
        (_, true) => Some(other),
        (false, false) => {
            let (before, after) = endpoints.split_at_checked(first)?;
            after.iter().chain(before).find(|endpoint| may(endpoint))
        }
    }
}

// === impl Load ===

impl Load {
    /// Counts a request at `endpoint`.
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        endpoint.standing.begin();
        Self(Arc::clone(&endpoint.standing))
    }

    /// How the endpoint is doing.
    pub(crate) fn standing(&self) -> &Arc<Standing> {
        &self.0
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Instant};

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::mesh::{Mesh, Model, Own};

    /// The port of a service with `n` pods, `10.0.0.N`.
    fn port(n: usize) -> Arc<ServicePort> {
        let pod = |n| {
            json!({
                "name": format!("web-{n}"), "namespace": "shop", "addresses": [format!("10.0.0.{n}")],
                "services": {"shop/web.shop.svc.cluster.local": {}},
            })
        };
        let model = json!({
            "services": [{"name": "web", "namespace": "shop", "ports": [{"servicePort": 80}]}],
            "workloads": (1..=n).map(pod).collect::<Vec<_>>(),
        });
        let model: Model = serde_json::from_value(model).unwrap();
        let mesh = Mesh::build(&model, &Own::new("shop", "client"), None).unwrap();
        Arc::clone(mesh.service_named(b"web", 80).unwrap())
    }

    #[test]
    fn every_endpoint_has_its_turn() {
        let port = port(5);
        let drawn: BTreeSet<_> = (0..500)
            .map(|_| pick(&port, |_| true).unwrap().address)
            .collect();
        assert_eq!(drawn.len(), 5);
    }

    #[test]
    fn of_two_the_one_with_less_at_hand_is_taken() {
        let port = port(2);
        let _busy = Load::new(&port.endpoints[0]);
        for _ in 0..50 {
            let picked = pick(&port, |_| true).unwrap();
            assert_eq!(picked.address, port.endpoints[1].address);
        }
    }

    proptest! {
        #[test]
        fn who_may_not_is_never_taken_and_who_failed_only_for_want_of_another(
            n in 0_usize..7, refused in any::<u8>(), ejected in any::<u8>(),
        ) {
            let port = port(n);
            let is_in = |set: u8, endpoint: &Endpoint| {
                let at = port.endpoints.iter().position(|one| one == endpoint).unwrap();
                set & (1 << at) != 0
            };
            for endpoint in &port.endpoints {
                if is_in(ejected, endpoint) {
                    endpoint.standing.eject(Instant::now());
                }
            }
            let may = |endpoint: &Endpoint| !is_in(refused, endpoint);
            let is_good = |endpoint: &Endpoint| may(endpoint) && !is_in(ejected, endpoint);
            let picked = pick(&port, may);
            prop_assert_eq!(picked.is_some(), port.endpoints.iter().any(may));
            if let Some(picked) = picked {
                prop_assert!(may(picked));
                prop_assert!(is_good(picked) || !port.endpoints.iter().any(is_good));
            }
        }
    }
}
