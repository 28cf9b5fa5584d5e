{{/*
A webhook configuration: the object `name` by which the injector of this release is asked about all pods of the revision or tag `answersFor`; `tag` is
the tag if it is one. For every combination of labels on namespace and pod at most one entry of all revisions and tags matches; `istio-injection` wins
over `istio.io/rev`, and the namespace's revision over the pod's. The injector decides again by itself, so an entry only has to match widely enough.
*/}}
{{- define "minimesh.webhookConfiguration" -}}
{{- $root := .root }}
{{- $answersFor := .answersFor | quote }}
{{- /* Without these, a control plane that is down could not be started again. */ -}}
{{- $excluded := list "kube-system" "kube-public" "kube-node-lease" $root.Release.Namespace | uniq }}
{{- $entry := dict "root" $root }}
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata:
  name: {{ .name }}
  labels:
    {{- include "minimesh.labels" $root | nindent 4 }}
    app: sidecar-injector
    {{- with .tag }}
    istio.io/tag: {{ . | quote }}
    {{- end }}
  {{- if eq $root.Values.sidecarInjectorWebhook.certificate.source "cert-manager" }}
  annotations:
    cert-manager.io/inject-ca-from: {{ printf "%s/%s" $root.Release.Namespace (include "minimesh.certificate" $root) | quote }}
  {{- end }}
webhooks:
  {{- include "minimesh.webhookEntry" (set $entry "name" "rev.namespace") | trim | nindent 2 }}
    namespaceSelector:
      matchExpressions:
        - {key: istio.io/rev, operator: In, values: [{{ $answersFor }}]}
        - {key: istio-injection, operator: DoesNotExist}
        - {key: kubernetes.io/metadata.name, operator: NotIn, values: {{ toJson $excluded }}}
    objectSelector:
      matchExpressions:
        - {key: sidecar.istio.io/inject, operator: NotIn, values: ["false"]}
  {{- include "minimesh.webhookEntry" (set $entry "name" "rev.object") | trim | nindent 2 }}
    namespaceSelector:
      matchExpressions:
        - {key: istio.io/rev, operator: DoesNotExist}
        - {key: istio-injection, operator: DoesNotExist}
        - {key: kubernetes.io/metadata.name, operator: NotIn, values: {{ toJson $excluded }}}
    objectSelector:
      matchExpressions:
        - {key: sidecar.istio.io/inject, operator: NotIn, values: ["false"]}
        - {key: istio.io/rev, operator: In, values: [{{ $answersFor }}]}
  {{- if eq .answersFor "default" }}
  {{- include "minimesh.webhookEntry" (set $entry "name" "namespace") | trim | nindent 2 }}
    namespaceSelector:
      matchExpressions:
        - {key: istio-injection, operator: In, values: ["enabled"]}
        - {key: kubernetes.io/metadata.name, operator: NotIn, values: {{ toJson $excluded }}}
    objectSelector:
      matchExpressions:
        - {key: sidecar.istio.io/inject, operator: NotIn, values: ["false"]}
  {{- include "minimesh.webhookEntry" (set $entry "name" "object") | trim | nindent 2 }}
    namespaceSelector:
      matchExpressions:
        - {key: istio-injection, operator: DoesNotExist}
        - {key: istio.io/rev, operator: DoesNotExist}
        - {key: kubernetes.io/metadata.name, operator: NotIn, values: {{ toJson $excluded }}}
    objectSelector:
      matchExpressions:
        - {key: sidecar.istio.io/inject, operator: In, values: ["true"]}
        - {key: istio.io/rev, operator: DoesNotExist}
  {{- if $root.Values.sidecarInjectorWebhook.enableNamespacesByDefault }}
  {{- include "minimesh.webhookEntry" (set $entry "name" "auto") | trim | nindent 2 }}
    namespaceSelector:
      matchExpressions:
        - {key: istio-injection, operator: DoesNotExist}
        - {key: istio.io/rev, operator: DoesNotExist}
        - {key: kubernetes.io/metadata.name, operator: NotIn, values: {{ append $excluded "local-path-storage" | uniq | toJson }}}
    objectSelector:
      matchExpressions:
        - {key: sidecar.istio.io/inject, operator: DoesNotExist}
        - {key: istio.io/rev, operator: DoesNotExist}
  {{- end }}
  {{- end }}
{{- end }}

{{/* The entry `name` without its selectors. */}}
{{- define "minimesh.webhookEntry" }}
- name: {{ .name }}.sidecar-injector.istio.io
  clientConfig:
    {{- if include "minimesh.patchesCABundle" .root }}
    # No caBundle: the injector writes its own, and an upgrade leaves it alone.
    {{- end }}
    {{- with .root.Values.sidecarInjectorWebhook.certificate.caBundle }}
    caBundle: {{ if hasPrefix "-----BEGIN" (trim .) }}{{ b64enc . }}{{ else }}{{ nospace . }}{{ end }}
    {{- end }}
    service:
      name: {{ include "minimesh.sidecarInjector" .root }}
      namespace: {{ .root.Release.Namespace }}
      path: /inject
      port: 443
  rules:
    - operations: ["CREATE"]
      apiGroups: [""]
      apiVersions: ["v1"]
      resources: ["pods"]
      scope: Namespaced
  sideEffects: None
  failurePolicy: Fail
  matchPolicy: Equivalent
  reinvocationPolicy: {{ .root.Values.sidecarInjectorWebhook.reinvocationPolicy }}
  # An injection takes milliseconds; what takes seconds is a connection to a node that is gone.
  timeoutSeconds: 5
  admissionReviewVersions: ["v1"]
{{- end }}

{{/* The entry `name` of the configuration that checks objects, without its selector. */}}
{{- define "minimesh.validationEntry" }}
- name: {{ .name }}
  clientConfig:
    {{- if include "minimesh.patchesCABundle" .root }}
    # No caBundle: the injector writes its own, and an upgrade leaves it alone.
    {{- end }}
    {{- with .root.Values.sidecarInjectorWebhook.certificate.caBundle }}
    caBundle: {{ if hasPrefix "-----BEGIN" (trim .) }}{{ b64enc . }}{{ else }}{{ nospace . }}{{ end }}
    {{- end }}
    service:
      name: {{ include "minimesh.istiod" .root }}
      namespace: {{ .root.Release.Namespace }}
      path: /validate
      port: 443
  # Nothing but what the injector acts on: other objects must not wait for it.
  rules:
    - operations: ["CREATE", "UPDATE"]
      apiGroups: ["security.istio.io"]
      apiVersions: ["v1", "v1beta1"]
      resources: ["peerauthentications"]
      scope: Namespaced
  sideEffects: None
  failurePolicy: Fail
  matchPolicy: Equivalent
  timeoutSeconds: 5
  admissionReviewVersions: ["v1"]
{{- end }}

{{/* Name of that configuration. */}}
{{- define "minimesh.validator" -}}
istio-validator{{ include "minimesh.suffix" . }}-{{ .Release.Namespace }}
{{- end }}

{{/* Whether objects are checked before they are created. Empty for no. */}}
{{- define "minimesh.validates" -}}
{{- if and .Values.global.configValidation (not .Values.global.operatorManageWebhooks) }}yes{{ end }}
{{- end }}

{{/* Whether the injector writes the caBundle: only where nobody else does. Empty for no. */}}
{{- define "minimesh.patchesCABundle" -}}
{{- $certificate := .Values.sidecarInjectorWebhook.certificate }}
{{- if and (eq $certificate.source "istiod") (not $certificate.caBundle) (not .Values.global.operatorManageWebhooks) }}yes{{ end }}
{{- end }}

{{/* Name of cert-manager's Certificate and of the Secret with it. */}}
{{- define "minimesh.certificate" -}}
{{- .Values.sidecarInjectorWebhook.certificate.secretName | default (printf "%s-tls" (include "minimesh.sidecarInjector" .)) }}
{{- end }}
