//! What `istio-init` needs on a real node: a capability that its file gives, and nothing where it only looks.

use anyhow::ensure;
use e2e::{Injection, Manifest, scenario};

#[test]
#[ignore = "needs a cluster: run cargo xtask e2e"]
fn rules_are_set_by_a_user_who_is_not_root_and_validated_by_one_without_any_capability() {
    scenario("file-capability", |scene| {
        let namespace = scene.namespace(Injection::Unlabelled)?;
        namespace.apply(&Manifest::read("file-capability.yaml")?)?;
        let pod = namespace.pod("file-capability");
        pod.wait_ready()?;
        for (container, said) in [
            ("istio-init", "rules installed"),
            ("istio-init", "rules validated, as read back and by"),
            ("unprivileged", "rules validated by"),
        ] {
            let log = pod.logs(container)?;
            ensure!(log.contains(said), "{container} of {pod} said: {log}");
        }
        Ok(())
    });
}
