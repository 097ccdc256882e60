{{/* Labels and annotations of a component's pods. Takes root, name, component. */}}
{{- define "order-engine.pod-metadata" -}}
labels:
  {{- include "order-engine.selector" . | nindent 2 }}
  {{- with .component.values.podLabels }}
  {{- include "order-engine.strings" . | nindent 2 }}
  {{- end }}
{{- $annotations := dict -}}
{{- range $store, $urls := include "order-engine.given-urls" .root | fromYaml -}}
{{- if include "order-engine.opens" (dict "component" $.component "store" (ternary "DATABASE" "REDIS" (eq $store "postgres"))) -}}
{{- $_ := set $annotations (printf "checksum/%s" $store) (toYaml $urls | sha256sum) -}}
{{- end -}}
{{- end -}}
{{- with merge (dict) .component.values.podAnnotations $annotations }}
annotations:
  {{- include "order-engine.strings" . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What a pod of any component has besides its containers. Takes root, name, component. */}}
{{- define "order-engine.pod" -}}
{{- $values := .component.values -}}
automountServiceAccountToken: false
enableServiceLinks: false # a Service called redis would set REDIS_PORT
securityContext:
  {{- include "order-engine.account" $values.podSecurityContext | nindent 2 }}
{{- include "order-engine.placement" $values }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{ toYaml (merge (dict) . (dict "labelSelector" (dict "matchLabels" (include "order-engine.selector" $ | fromYaml)))) | nindent 4 | trim }}
  {{- end }}
{{- end }}
{{- with $values.priorityClassName | default (and .root.Values.priorityClasses.create (include "order-engine.priority-class" .)) }}
priorityClassName: {{ . }}
{{- end }}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 16Mi}
  {{- range $volume, $authority := include "order-engine.authorities" . | fromYaml }}
  - name: {{ $volume }}
    secret:
      secretName: {{ $authority.secret }}
      items: [{key: {{ $authority.key }}, path: ca.crt}]
  {{- end }}
{{- end }}

{{/* The account of a pod: what is null or empty is left to the cluster. */}}
{{- define "order-engine.account" -}}
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- range $key, $value := . }}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "")) }}
{{ $key }}: {{ toJson $value }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where the images come from and the pods go. Takes the values of a workload. */}}
{{- define "order-engine.placement" -}}
{{- with .imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - {{ ternary (dict "name" .) . (kindIs "string" .) | toJson }}
  {{- end }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- include "order-engine.strings" . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The name of a component's image. Takes root, component. */}}
{{- define "order-engine.image" -}}
{{- $image := .component.values.image -}}
{{- with trim $image.registry | trimAll "/" }}{{ . }}/{{ end -}}
{{- trim $image.repository | trimAll "/" -}}
{{- if $image.digest -}}
@{{ $image.digest | trimPrefix "@" }}
{{- else -}}
:{{ include "order-engine.text" ($image.tag | default .root.Chart.AppVersion) | trimPrefix ":" }}
{{- end -}}
{{- end }}

{{/* What every container of a component has. Takes root, name, component. */}}
{{- define "order-engine.container" -}}
{{- $values := .component.values -}}
image: {{ include "order-engine.image" . | quote }}
imagePullPolicy: {{ $values.image.pullPolicy }}
resources:
  {{- toYaml $values.resources | nindent 2 }}
securityContext:
  {{- include "order-engine.confined" . | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- range $volume, $authority := include "order-engine.authorities" . | fromYaml }}
  - {name: {{ $volume }}, mountPath: /etc/order-engine/{{ $volume }}, readOnly: true}
  {{- end }}
{{- end }}

{{- define "order-engine.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* The variables that open a component's stores. Takes root, component; only: a part of their names. */}}
{{- define "order-engine.store-env" -}}
{{- $urls := include "order-engine.urls" .root | fromYaml -}}
{{- $tls := .root.Values.postgres.tls -}}
{{- range $variable := .component.urls }}
{{- if contains ($.only | default "") $variable }}
{{- $url := index $urls $variable }}
- name: {{ $variable }}
  valueFrom:
    secretKeyRef:
      name: {{ $url.secret }}
      key: {{ $url.key }}
      {{- if $url.optional }}
      optional: true
      {{- end }}
{{- end }}
{{- end }}
{{- if include "order-engine.opens" (dict "component" .component "store" "DATABASE") }}
{{- /* libpq uses these unless the URL sets them */}}
{{- with $tls.mode | default (ternary "verify-full" "" (not (empty $tls.caSecret))) }}
- {name: PGSSLMODE, value: {{ . }}}
{{- end }}
{{- if $tls.caSecret }}
- {name: PGSSLROOTCERT, value: /etc/order-engine/postgres-ca/ca.crt}
{{- else if eq $tls.mode "verify-full" }}
- {name: PGSSLROOTCERT, value: system}
{{- end }}
{{- end }}
{{- end }}

{{/* The container of a component, without its ports and probes. Takes root, name, component. */}}
{{- define "order-engine.main-container" -}}
{{- $values := .component.values -}}
name: {{ .name }}
{{- with .component.args }}
args: {{ toJson . }}
{{- end }}
env:
  {{- include "order-engine.store-env" . | trim | nindent 2 }}
  - {name: DRAIN_S, value: {{ include "order-engine.text" $values.drainSeconds | quote }}}
  {{- if .component.isDoor }}
  - {name: AUTH, value: {{ .root.Values.auth }}}
  {{- with .root.Values.trustedProxies }}
  - {name: TRUSTED_PROXIES, value: {{ join "," . | quote }}}
  {{- end }}
  {{- with .root.Values.corsOrigins }}
  - {name: CORS_ORIGINS, value: {{ join "," . | quote }}}
  {{- end }}
  {{- end }}
  {{- range $name, $value := $values.config }}
  - {name: {{ $name }}, value: {{ include "order-engine.text" $value | quote }}}
  {{- end }}
  {{- include "order-engine.extra-env" $values.extraEnv | nindent 2 }}
{{ include "order-engine.container" . }}
{{- end }}

{{/* Variables as in a container's `env`, whose values may be numbers and booleans here. */}}
{{- define "order-engine.extra-env" -}}
{{- range . }}
- {{ ternary (merge (dict "value" (include "order-engine.text" .value)) .) . (hasKey . "value") | toJson }}
{{- end }}
{{- end }}
