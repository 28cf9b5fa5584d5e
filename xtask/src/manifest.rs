//! An injected pod as the lab runs it: containers with arguments, environment and security context.
//!
//! Called by the lab with what `minimesh kube-inject` printed; does for one machine what the kubelet does on a node.
//! A field that the lab cannot honour is an error, so that the demo never runs less than what was injected.

use anyhow::{Context, bail};
use serde_json::Value;

/// An injected pod.
pub(crate) struct Manifest {
    pod: Value,
}

/// A container, with everything resolved.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Added capabilities, all others dropped.
    pub(crate) capabilities: Vec<String>,
}

/// What the kubelet knows of a pod and its node.
pub(crate) struct Facts {
    pub(crate) pod_name: String,
    pub(crate) pod_ip: String,
    pub(crate) host_ip: String,
    pub(crate) n_cores: usize,
}

// === impl Manifest ===

impl Manifest {
    /// Reads the first document of `yaml`.
    pub(crate) fn parse(yaml: &str) -> anyhow::Result<Self> {
        let pod = template::yaml::parse("the injected manifest", yaml)?;
        if pod["kind"] != "Pod" {
            bail!(
                "the injected manifest holds {} instead of a Pod",
                pod["kind"]
            );
        }
        Ok(Self { pod })
    }

    /// Names of the init containers, in order.
    pub(crate) fn init_containers(&self) -> Vec<&str> {
        names(&self.pod["spec"]["initContainers"])
    }

    /// Names of the ordinary containers, in order.
    pub(crate) fn containers(&self) -> Vec<&str> {
        names(&self.pod["spec"]["containers"])
    }

    /// Names of the volumes, in order.
    pub(crate) fn volumes(&self) -> Vec<&str> {
        names(&self.pod["spec"]["volumes"])
    }

    /// The readiness probe of the application, as `port` and `path`.
    pub(crate) fn readiness(&self, container: &str) -> anyhow::Result<(u16, String)> {
        let probe = &self.raw(container)?["readinessProbe"]["httpGet"];
        let port = probe["port"]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok());
        let path = probe["path"].as_str();
        Ok((
            port.context("the rewritten readiness probe has no numeric port")?,
            path.context("the rewritten readiness probe has no path")?
                .to_owned(),
        ))
    }

    /// The container `name`, as the kubelet would start it in the pod that `facts` describes.
    pub(crate) fn container(&self, name: &str, facts: &Facts) -> anyhow::Result<Container> {
        let raw = self.raw(name)?;
        let mut env = Vec::new();
        for variable in raw["env"].as_array().into_iter().flatten() {
            let key = variable["name"]
                .as_str()
                .context("an environment variable has no name")?;
            let value = match variable["value"].as_str() {
                Some(value) => expand(value, &env),
                None => self
                    .downward(&variable["valueFrom"], raw, facts)
                    .with_context(|| format!("variable {key} of container {name}"))?,
            };
            env.push((key.to_owned(), value));
        }
        let args = strings(&raw["args"])
            .iter()
            .map(|arg| expand(arg, &env))
            .collect();
        let security = &raw["securityContext"];
        Ok(Container {
            args,
            env,
            uid: id(&security["runAsUser"])
                .with_context(|| format!("runAsUser of container {name}"))?,
            gid: id(&security["runAsGroup"])
                .with_context(|| format!("runAsGroup of container {name}"))?,
            capabilities: strings(&security["capabilities"]["add"]),
        })
    }

    fn raw(&self, name: &str) -> anyhow::Result<&Value> {
        let spec = &self.pod["spec"];
        ["initContainers", "containers"]
            .into_iter()
            .flat_map(|list| spec[list].as_array().into_iter().flatten())
            .find(|container| container["name"] == name)
            .with_context(|| format!("the injected pod has no container {name}"))
    }

    /// A value of the downward API.
    fn downward(&self, source: &Value, container: &Value, facts: &Facts) -> anyhow::Result<String> {
        if let Some(resource) = source["resourceFieldRef"]["resource"].as_str() {
            return resource_limit(resource, container, facts);
        }
        let text = |value: &Value, default: &str| value.as_str().unwrap_or(default).to_owned();
        Ok(match source["fieldRef"]["fieldPath"].as_str() {
            Some("metadata.name") => facts.pod_name.clone(),
            Some("metadata.namespace") => text(&self.pod["metadata"]["namespace"], "default"),
            Some("spec.serviceAccountName") => {
                text(&self.pod["spec"]["serviceAccountName"], "default")
            }
            Some("spec.nodeName") => "node".to_owned(),
            Some("status.podIP") => facts.pod_ip.clone(),
            Some("status.hostIP") => facts.host_ip.clone(),
            _ => bail!("the lab cannot tell {source}"),
        })
    }
}

fn resource_limit(resource: &str, container: &Value, facts: &Facts) -> anyhow::Result<String> {
    match (resource, container["resources"]["limits"]["cpu"].as_str()) {
        ("limits.cpu", Some(limit)) => {
            let millis: f64 = match limit.strip_suffix('m') {
                Some(millis) => millis.parse()?,
                None => limit.parse::<f64>()? * 1000.0,
            };
            Ok(format!("{:.0}", (millis / 1000.0).ceil()))
        }
        ("limits.cpu", None) => Ok(facts.n_cores.to_string()),
        // Nothing that the lab runs reads it: it is for programs with a garbage collector.
        ("limits.memory", _) => Ok("0".to_owned()),
        _ => bail!("the lab cannot tell the resource {resource}"),
    }
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item["name"].as_str())
        .collect()
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

fn id(value: &Value) -> anyhow::Result<u32> {
    let id = value
        .as_u64()
        .context("no number is set, and the lab knows no image's user")?;
    Ok(u32::try_from(id)?)
}

/// Replaces `$(NAME)` by the variable's value, as the kubelet does in arguments and later variables.
fn expand(text: &str, env: &[(String, String)]) -> String {
    env.iter().fold(text.to_owned(), |text, (key, value)| {
        text.replace(&format!("$({key})"), value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = r#"
kind: Pod
metadata: {namespace: shop}
spec:
  initContainers:
  - name: istio-proxy
    args: [proxy, "--domain", "$(POD_NAMESPACE).svc.cluster.local"]
    env:
    - name: POD_NAMESPACE
      valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
    - name: ISTIO_CPU_LIMIT
      valueFrom: {resourceFieldRef: {resource: limits.cpu}}
    resources: {limits: {cpu: 1500m}}
    securityContext: {runAsUser: 1337, runAsGroup: 1337, capabilities: {drop: [ALL]}}
"#;

    fn facts() -> Facts {
        Facts {
            pod_name: "web".to_owned(),
            pod_ip: "10.244.0.2".to_owned(),
            host_ip: "10.244.0.1".to_owned(),
            n_cores: 2,
        }
    }

    #[test]
    fn a_container_is_resolved_as_the_kubelet_does() {
        let container = Manifest::parse(POD)
            .unwrap()
            .container("istio-proxy", &facts())
            .unwrap();
        assert_eq!(
            container.args,
            ["proxy", "--domain", "shop.svc.cluster.local"]
        );
        assert!(
            container
                .env
                .contains(&("ISTIO_CPU_LIMIT".to_owned(), "2".to_owned()))
        );
        assert_eq!((container.uid, container.gid), (1337, 1337));
        assert!(container.capabilities.is_empty());
    }

    #[test]
    fn what_the_lab_cannot_tell_is_an_error() {
        let pod = POD.replace("metadata.namespace}", "metadata.uid}");
        let error = Manifest::parse(&pod)
            .unwrap()
            .container("istio-proxy", &facts())
            .unwrap_err();
        assert!(format!("{error:#}").contains("POD_NAMESPACE"), "{error:#}");
    }
}
