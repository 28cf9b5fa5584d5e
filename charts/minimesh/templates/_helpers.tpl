{{/* The revision; empty for the default one, however it is spelled. */}}
{{- define "minimesh.revision" -}}
{{- if ne .Values.revision "default" }}{{ .Values.revision }}{{ end }}
{{- end }}

{{/* What a revision adds to the names of objects, as in Istio's charts. */}}
{{- define "minimesh.suffix" -}}
{{- with include "minimesh.revision" . }}-{{ . }}{{ end }}
{{- end }}

{{/* The revision as a label's value. */}}
{{- define "minimesh.revisionLabel" -}}
{{- include "minimesh.revision" . | default "default" }}
{{- end }}

{{/* Name of the Deployment, the service account, its Role and the disruption budget. */}}
{{- define "minimesh.injector" -}}
injector{{ include "minimesh.suffix" . }}
{{- end }}

{{/* Name of the ClusterRole, which also owns what the injector creates. */}}
{{- define "minimesh.clusterRole" -}}
{{ include "minimesh.injector" . }}-{{ .Release.Namespace }}
{{- end }}

{{/* Name of the webhook's Service and of the ConfigMap with the injection configuration. */}}
{{- define "minimesh.sidecarInjector" -}}
istio-sidecar-injector{{ include "minimesh.suffix" . }}
{{- end }}

{{/* Name of the webhook configuration; as in Istio, an unusual namespace becomes part of it, because it is a name in the whole cluster. */}}
{{- define "minimesh.webhook" -}}
{{ include "minimesh.sidecarInjector" . }}{{ if ne .Release.Namespace "istio-system" }}-{{ .Release.Namespace }}{{ end }}
{{- end }}

{{/* Name of the control plane's Service. */}}
{{- define "minimesh.istiod" -}}
istiod{{ include "minimesh.suffix" . }}
{{- end }}

{{/* Name of the ConfigMap with the mesh configuration. */}}
{{- define "minimesh.mesh" -}}
istio{{ include "minimesh.suffix" . }}
{{- end }}

{{- define "minimesh.tag" -}}
{{- .Values.global.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Name of what brings the CNI plugin to the nodes. A revision is no part of it: a node has one plugin. */}}
{{- define "minimesh.cni" -}}
istio-cni-node
{{- end }}

{{/* Labels of its objects. */}}
{{- define "minimesh.cniLabels" -}}
{{- merge (dict "app.kubernetes.io/component" "istio-init") (include "minimesh.labels" . | fromYaml) | toYaml }}
{{- end }}

{{/* Its image. */}}
{{- define "minimesh.cniImage" -}}
{{- if contains "/" .Values.cni.image -}}
{{ .Values.cni.image }}
{{- else -}}
{{ .Values.global.hub }}/{{ .Values.cni.image }}:{{ include "minimesh.tag" . }}
{{- end }}
{{- end }}

{{/* The injector's image. */}}
{{- define "minimesh.image" -}}
{{- if contains "/" .Values.pilot.image -}}
{{ .Values.pilot.image }}
{{- else -}}
{{ .Values.global.hub }}/{{ .Values.pilot.image }}:{{ include "minimesh.tag" . }}
{{- end }}
{{- end }}

{{/* Labels by which Deployment, Services, disruption budget and NetworkPolicy find the pods. They never change for a revision. */}}
{{- define "minimesh.selectorLabels" -}}
app: istiod
istio.io/rev: {{ include "minimesh.revisionLabel" . | quote }}
{{- end }}

{{/* Ports of the control plane, by the names and numbers that sidecars and people know from Istio. */}}
{{- define "minimesh.istiodPorts" -}}
- name: grpc-xds
  port: 15010
  protocol: TCP
- name: https-dns
  port: 15012
  protocol: TCP
- name: https-webhook
  port: 443
  targetPort: 15017
  protocol: TCP
- name: http-monitoring
  port: 15014
  protocol: TCP
{{- end }}

{{/* Labels of every object. */}}
{{- define "minimesh.labels" -}}
app.kubernetes.io/name: minimesh
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: injector
app.kubernetes.io/part-of: minimesh
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
istio.io/rev: {{ include "minimesh.revisionLabel" . | quote }}
{{- end }}

{{/*
The namespace that templates name in addresses is the release's. A value that says otherwise is a misunderstanding that would surface only as pods
that cannot reach their control plane, so it is refused here.
*/}}
{{- define "minimesh.namespace" -}}
{{- if not (has .Values.global.istioNamespace (list "istio-system" .Release.Namespace)) }}
{{- fail (printf "global.istioNamespace is %q, but the release goes into namespace %q: install with -n %s, or leave the value out" .Values.global.istioNamespace .Release.Namespace .Values.global.istioNamespace) }}
{{- end }}
{{- .Release.Namespace }}
{{- end }}

{{/* Key `config`: the shipped injection configuration with what the values say of it. Its templates are not templates of Helm. */}}
{{- define "minimesh.config" -}}
{{- $webhook := .Values.sidecarInjectorWebhook }}
{{- $config := .Files.Get "files/config" | fromYaml }}
{{- $_ := set $config "policy" .Values.global.proxy.autoInject }}
{{- range $key := list "alwaysInjectSelector" "neverInjectSelector" "injectedAnnotations" "defaultTemplates" "aliases" }}
{{- with get $webhook $key }}
{{- $_ := set $config $key . }}
{{- end }}
{{- end }}
{{- $templates := mergeOverwrite $config.templates $webhook.templates }}
{{- range $name := $config.defaultTemplates }}
{{- if not (or (hasKey $templates $name) (hasKey $webhook.aliases $name)) }}
{{- fail (printf "sidecarInjectorWebhook.defaultTemplates names %q, which sidecarInjectorWebhook.templates does not have; there is %s" $name (keys $templates | sortAlpha | join ", ")) }}
{{- end }}
{{- end }}
{{- $_ := set $config "templates" $templates }}
{{- toYaml $config }}
{{- end }}

{{/* Key `values`: what templates see, without what only the chart reads. */}}
{{- define "minimesh.values" -}}
{{- $global := omit .Values.global "priorityClassName" "defaultPodDisruptionBudget" "networkPolicy" "operatorManageWebhooks" "configValidation" }}
{{- $global = merge (dict "tag" (include "minimesh.tag" .) "istioNamespace" (include "minimesh.namespace" .)) $global }}
{{- $webhook := pick .Values.sidecarInjectorWebhook "enableNamespacesByDefault" "reinvocationPolicy" "rewriteAppHTTPProbe" "refuseCaptureBypass" }}
{{- /* The injector has its environment already; `minimesh kube-inject` reads the switches in it from here. */}}
{{- $cni := dict "enabled" (or .Values.cni.enabled .Values.pilot.cni.enabled) "provider" .Values.pilot.cni.provider }}
{{- $pilot := set (pick .Values.pilot "env" "crlConfigMapName") "cni" $cni }}
{{- $values := dict "global" $global "sidecarInjectorWebhook" $webhook "revision" (include "minimesh.revision" .) "pilot" $pilot "gateways" .Values.gateways }}
{{- /* The plugin, of this release or of another revision's, reads from the pod how it is to be captured. Istio's reads other things, and its templates write them. */}}
{{- if or .Values.cni.enabled (and .Values.pilot.cni.enabled (not .Values.sidecarInjectorWebhook.templates)) }}
{{- $_ := set $values "cni" (dict "enabled" true) }}
{{- end }}
{{- toYaml $values }}
{{- end }}

{{/* Key `mesh`: the shipped mesh configuration, this control plane's addresses and the one status port, and over both what the values say. */}}
{{- define "minimesh.meshConfig" -}}
{{- $shipped := .Files.Get "files/mesh" | fromYaml }}
{{- $address := printf "%s.%s.svc:15012" (include "minimesh.istiod" .) .Release.Namespace }}
{{- $own := dict "rootNamespace" .Release.Namespace "defaultConfig" (dict "discoveryAddress" $address "statusPort" .Values.global.proxy.statusPort) }}
{{- mergeOverwrite $shipped $own (deepCopy .Values.meshConfig) | toYaml }}
{{- end }}
