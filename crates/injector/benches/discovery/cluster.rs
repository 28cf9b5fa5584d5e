//! The objects that are made up: Services of two pods each, spread over a hundred namespaces and two hundred nodes.
//!
//! They go into the model as they would come out of the watches, so all that is missing of a real cluster is the API server.

use injector::discovery::{
    model::Model,
    object::{
        Endpoint, Key, Labels, Pod, PodState, Preference, Service, ServicePort, Slice, Target,
        Texts,
    },
};
use wire::workload::{AppProtocol, IpFamilies, WorkloadType};

pub(crate) const N_SERVICES: usize = 5_000;
pub(crate) const N_PODS: usize = 10_000;

/// The key of one of a kind of objects.
pub(crate) fn key(kind: &str, number: usize) -> Key {
    Key::new(
        &format!("namespace-{}", number % 100),
        &format!("{kind}-{number}"),
    )
}

fn pod(number: usize, serves: bool, texts: &mut Texts) -> Pod {
    let [_, high, mid, low] = u32::try_from(number).unwrap_or_default().to_be_bytes();
    let app = texts.get(&format!("service-{}", number % N_SERVICES));
    let mut label = |key: &str, value: &str| (texts.get(key), texts.get(value));
    let labels = [
        label("app", &app),
        label("pod-template-hash", &format!("{:x}", number % N_SERVICES)),
        label("security.istio.io/tlsMode", "istio"),
        label("service.istio.io/canonical-name", &app),
        label("service.istio.io/canonical-revision", "v1"),
    ];
    Pod {
        addresses: Box::new([[10, high, mid, low].into()]),
        labels: Labels::from(labels),
        service_account: texts.get("default"),
        node: texts.get(&format!("node-{}", number % 200)),
        workload_name: app.clone(),
        workload_type: WorkloadType::Deployment,
        canonical_name: app,
        canonical_revision: texts.get("v1"),
        state: PodState {
            serves,
            host_network: false,
            sidecar: true,
        },
    }
}

/// Tells `model` of everything.
pub(crate) fn populate(model: &mut Model) {
    let mut texts = Texts::default();
    for number in 0..N_SERVICES {
        let [_, _, high, low] = u32::try_from(number).unwrap_or_default().to_be_bytes();
        let service = Service {
            addresses: Box::new([[172, 20, high, low].into()]),
            ports: Box::new([ServicePort {
                number: 80,
                target: 8080,
                name: texts.get("http"),
                protocol: AppProtocol::Http11,
            }]),
            ip_families: IpFamilies::Ipv4Only,
            publish_not_ready: false,
            preference: Preference::Any,
        };
        model.set_service(&shared("service", number, &mut texts), Some(service));
        let pods = (number..N_PODS).step_by(N_SERVICES);
        let slice = Slice {
            service: texts.get(&key("service", number).name),
            ports: Box::new([(texts.get("http"), 8080)]),
            endpoints: pods
                .map(|number| Endpoint {
                    target: Target::Pod(texts.get(&key("pod", number).name)),
                    ready: true,
                })
                .collect(),
        };
        model.set_slice(&shared("slice", number, &mut texts), Some(slice));
    }
    for number in 0..N_PODS {
        let pod = pod(number, true, &mut texts);
        model.set_pod(&shared("pod", number, &mut texts), Some(pod));
    }
}

/// The first pod, which is behind the first Service, becomes ready or unready.
pub(crate) fn touch(model: &mut Model, serves: bool) {
    let changed = pod(0, serves, &mut Texts::default());
    model.set_pod(&key("pod", 0), Some(changed));
}

/// As the follower makes keys: each text once.
fn shared(kind: &str, number: usize, texts: &mut Texts) -> Key {
    let key = key(kind, number);
    Key {
        namespace: texts.get(&key.namespace),
        name: texts.get(&key.name),
    }
}
