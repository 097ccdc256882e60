{{/* Labels and annotations of a component's pods. Takes root, name, component. */}}
{{- define "order-engine.pod-metadata" -}}
labels:
  {{- include "order-engine.selector" . | nindent 2 }}
  {{- with .component.values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $annotations := dict -}}
{{- range $store, $urls := include "order-engine.given-urls" .root | fromYaml -}}
{{- if include "order-engine.opens" (dict "component" $.component "store" (ternary "DATABASE" "REDIS" (eq $store "postgres"))) -}}
{{- $_ := set $annotations (printf "checksum/%s" $store) (toYaml $urls | sha256sum) -}}
{{- end -}}
{{- end -}}
{{- with merge (dict) .component.values.podAnnotations $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What a pod of any component has besides its containers. Takes root, name, component. */}}
{{- define "order-engine.pod" -}}
{{- $values := .component.values -}}
automountServiceAccountToken: false
enableServiceLinks: false # a Service called redis would set REDIS_PORT
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- range $key := list "imagePullSecrets" "nodeSelector" "affinity" "tolerations" }}
{{- with index $values $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
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

{{/* What every container of a component has. Takes root, name, component. */}}
{{- define "order-engine.container" -}}
{{- $values := .component.values -}}
image: "{{ with $values.image.registry }}{{ . }}/{{ end }}{{ $values.image.repository }}:{{ include "order-engine.text" ($values.image.tag | default .root.Chart.AppVersion) }}"
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
  {{- with $values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{ include "order-engine.container" . }}
{{- end }}
