{{/* What a PeerAuthentication may hold; its versions differ in name only. */}}
{{- define "minimesh.peerAuthenticationSchema" -}}
type: object
description: |-
  Says whether callers of pods must come by mutual TLS. Of several policies for a pod the narrowest counts: one with a selector before that of
  the namespace, and that before the one of the mesh, which is in the control plane's namespace. Of equals the oldest counts.
properties:
  spec:
    type: object
    properties:
      selector:
        type: object
        description: |-
          Which pods of the namespace the policy is for. Without labels it is for all of them; in the control plane's namespace, for those of the
          whole mesh.
        properties:
          matchLabels:
            type: object
            description: Labels that a pod must have, all of them, with exactly these values.
            maxProperties: 4096
            additionalProperties:
              type: string
              maxLength: 63
              x-kubernetes-validations:
                - rule: "!self.contains('*')"
                  message: "values are compared as they are: write the whole value instead of *"
            x-kubernetes-validations:
              - rule: self.all(key, key.size() != 0)
                message: "a label has a name"
              - rule: self.all(key, !key.contains('*'))
                message: "names are compared as they are: write the whole name instead of *"
      mtls:
        {{- include "minimesh.mtlsSchema" "of all ports that portLevelMtls does not name" | nindent 8 }}
      portLevelMtls:
        type: object
        description: |-
          Single ports that differ from the rest, by their number in the pod, which need not be that of the Service. Only for policies with a
          selector.
        minProperties: 1
        additionalProperties:
          {{- include "minimesh.mtlsSchema" "of this port" | nindent 10 }}
        x-kubernetes-validations:
          - rule: self.all(key, 0 < int(key) && int(key) <= 65535)
            message: "a port is a number from 1 to 65535"
    x-kubernetes-validations:
      - rule: >-
          !has(self.portLevelMtls) ||
          (has(self.selector) && has(self.selector.matchLabels) && self.selector.matchLabels.size() > 0)
        message: "portLevelMtls needs selector.matchLabels, because ports are those of a workload"
  status:
    type: object
    description: What became of the policy. Written by the control plane.
    # Another control plane may have more to say.
    x-kubernetes-preserve-unknown-fields: true
    properties:
      conditions:
        type: array
        description: |-
          Accepted: whether the policy can work; one that cannot is as if it were not there. Effective: whether all that it says is acted on.
        x-kubernetes-list-type: map
        x-kubernetes-list-map-keys: ["type"]
        items:
          type: object
          required: ["type", "status"]
          x-kubernetes-preserve-unknown-fields: true
          properties:
            type:
              type: string
              description: Name of the condition.
            status:
              type: string
              description: True, False or Unknown.
            reason:
              type: string
              description: Why, in one word.
            message:
              type: string
              description: Why, and what to do.
            lastTransitionTime:
              type: string
              format: date-time
              description: When the status was last another one.
            observedGeneration:
              description: Generation of the object that this is about.
              x-kubernetes-int-or-string: true
{{- end }}

{{/* A mode; the argument says what for. */}}
{{- define "minimesh.mtlsSchema" -}}
type: object
description: Mutual TLS {{ . }}.
properties:
  mode:
    type: string
    description: |-
      STRICT: only by mutual TLS. PERMISSIVE: by mutual TLS or in plain text, as the caller chooses. DISABLE: the sidecar takes no part in TLS.
      UNSET, the default: as the next wider policy says, and PERMISSIVE if none says anything.
    enum: ["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]
{{- end }}
