//! Which endpoints of a service come first, and where a workload is.

use wire::workload::{self as wds, load_balancing as lb};

use super::{Refusal, unknown_at};
use crate::mesh::{
    model::{BalancingMode, HealthPolicy, LoadBalancing, Locality, Scope},
    problem::Place,
};

/// The preference of a service; none where nothing is said.
pub(super) fn load_balancing(
    message: Option<wds::LoadBalancing>,
) -> Result<LoadBalancing, Refusal> {
    let Some(message) = message else {
        return Ok(LoadBalancing::default());
    };
    let scopes = message.routing_preference.iter();
    let mode = lb::Mode::try_from(message.mode).map_err(|_| unknown("mode", message.mode))?;
    Ok(LoadBalancing {
        routing_preference: scopes
            .map(|number| scope(*number))
            .collect::<Result<_, _>>()?,
        mode: match mode {
            lb::Mode::UnspecifiedMode => BalancingMode::UnspecifiedMode,
            lb::Mode::Strict => BalancingMode::Strict,
            lb::Mode::Failover => BalancingMode::Failover,
            lb::Mode::Passthrough => BalancingMode::Passthrough,
        },
        health_policy: match lb::HealthPolicy::try_from(message.health_policy) {
            Ok(lb::HealthPolicy::OnlyHealthy) => HealthPolicy::OnlyHealthy,
            Ok(lb::HealthPolicy::AllowAll) => HealthPolicy::AllowAll,
            Err(_) => return Err(unknown("healthPolicy", message.health_policy)),
        },
    })
}

pub(super) fn locality(message: Option<wds::Locality>) -> Locality {
    message.map_or_else(Locality::default, |message| Locality {
        region: message.region,
        zone: message.zone,
        subzone: message.subzone,
    })
}

fn scope(number: i32) -> Result<Scope, Refusal> {
    Ok(match lb::Scope::try_from(number) {
        Ok(lb::Scope::Region) => Scope::Region,
        Ok(lb::Scope::Zone) => Scope::Zone,
        Ok(lb::Scope::Subzone) => Scope::Subzone,
        Ok(lb::Scope::Node) => Scope::Node,
        Ok(lb::Scope::Cluster) => Scope::Cluster,
        Ok(lb::Scope::Network) => Scope::Network,
        Ok(lb::Scope::UnspecifiedScope) | Err(_) => {
            return Err(unknown("routingPreference", number));
        }
    })
}

fn unknown(field: &str, number: i32) -> Refusal {
    unknown_at(Place::root("loadBalancing").field(field), number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_is_taken_as_it_is_told_and_what_is_not_known_is_refused() {
        let scopes = [lb::Scope::Network, lb::Scope::Zone, lb::Scope::Node];
        let mut message = wds::LoadBalancing {
            routing_preference: scopes.map(i32::from).to_vec(),
            mode: lb::Mode::Failover.into(),
            health_policy: lb::HealthPolicy::AllowAll.into(),
        };
        let expected = LoadBalancing {
            routing_preference: vec![Scope::Network, Scope::Zone, Scope::Node],
            mode: BalancingMode::Failover,
            health_policy: HealthPolicy::AllowAll,
        };
        assert_eq!(load_balancing(Some(message.clone())).unwrap(), expected);
        assert_eq!(load_balancing(None).unwrap(), LoadBalancing::default());
        // What the sidecar does not understand could be a narrower choice than it would make.
        message.routing_preference.push(99);
        let refusal = load_balancing(Some(message)).unwrap_err().to_string();
        assert!(
            refusal.starts_with("loadBalancing.routingPreference: `99`"),
            "{refusal}"
        );
    }

    #[test]
    fn a_place_that_is_not_told_is_not_known() {
        assert_eq!(locality(None), Locality::default());
        let told = wds::Locality {
            region: "eu".to_owned(),
            zone: "b".to_owned(),
            subzone: String::new(),
        };
        assert_eq!(locality(Some(told)).zone, "b");
    }
}
