{{- define "order-engine.fullname" -}}
{{- $name := ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{- $name | trunc 35 | trimSuffix "-" -}}
{{- end }}

{{/* A number as it was written: a template prints 1000000 as 1e+06. */}}
{{- define "order-engine.text" -}}
{{- ternary . (toJson .) (kindIs "string" .) -}}
{{- end }}

{{/* What a selector may hold: it never changes. Takes root, name. */}}
{{- define "order-engine.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{/* Takes root, name. */}}
{{- define "order-engine.labels" -}}
{{ include "order-engine.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/*
The nine workloads, and the migration: name -> which URLs of the Secret it may know, its arguments,
whether it serves, and its values after the merge of the three layers.
*/}}
{{- define "order-engine.components" -}}
{{- $statuses := .Values.statusDispatcher.statuses -}}
{{- $expected := list "building" "confirmed" "failed" "pending" "routing" "submitted" -}}
{{- if ne (keys $statuses | sortAlpha | join ", ") ($expected | join ", ") -}}
{{- fail (printf "statusDispatcher.statuses must be exactly the statuses of an order (%s), not: %s" ($expected | join ", ") (keys $statuses | sortAlpha | join ", ")) -}}
{{- end -}}
{{- $components := dict
  "gateway" (dict "group" .Values.gateway "urls" (list "databaseUrl" "redisUrl") "serves" true)
  "order-worker" (dict "group" .Values.orderWorker "urls" (list "databaseUrl" "chainDatabaseUrl" "redisUrl"))
  "ws-gateway" (dict "group" .Values.wsGateway "urls" (list "databaseUrl" "redisUrl") "serves" true)
  "migrate" (dict "group" .Values.migration "urls" (list "databaseUrl" "chainDatabaseUrl"))
-}}
{{- range $status, $item := $statuses -}}
{{- $dispatcher := dict "group" $.Values.statusDispatcher "item" $item "urls" (list "redisUrl") "args" (list "--status" $status) -}}
{{- $_ := set $components (printf "status-dispatcher-%s" $status) $dispatcher -}}
{{- end -}}
{{- range $name, $component := $components -}}
{{- $group := omit $component.group "statuses" "service" -}}
{{- $values := mustMergeOverwrite (deepCopy $.Values.defaults) (deepCopy $group) (deepCopy ($component.item | default dict)) -}}
{{- $needed := add $values.preStopSleepSeconds $values.drainSeconds 5 -}}
{{- if lt (int $values.terminationGracePeriodSeconds) (int $needed) -}}
{{- fail (printf "%s: terminationGracePeriodSeconds is %d, but leaving takes up to %d s" $name (int $values.terminationGracePeriodSeconds) $needed) -}}
{{- end -}}
{{- $_ := set $component "values" $values -}}
{{- $_ := unset $component "group" -}}
{{- $_ := unset $component "item" -}}
{{- end -}}
{{- toYaml $components -}}
{{- end }}

{{/* What a pod of any component has besides its container. Takes values. */}}
{{- define "order-engine.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false # a Service called redis would set REDIS_PORT
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 16Mi}
{{- range $key := list "imagePullSecrets" "nodeSelector" "affinity" "tolerations" "topologySpreadConstraints" "priorityClassName" }}
{{- with index $.values $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* What the container of any component has besides its ports and probes. Takes root, name, component. */}}
{{- define "order-engine.container" -}}
{{- $values := .component.values -}}
name: {{ .name }}
image: {{ with $values.image.registry }}{{ . }}/{{ end }}{{ $values.image.repository }}:{{ include "order-engine.text" ($values.image.tag | default .root.Chart.AppVersion) }}
imagePullPolicy: {{ $values.image.pullPolicy }}
{{- with .component.args }}
args: {{ toJson . }}
{{- end }}
env:
  {{- $secret := .root.Values.secret }}
  {{- range $url := .component.urls }}
  - name: {{ snakecase $url | upper }}
    valueFrom:
      secretKeyRef:
        name: {{ required "secret.name: the existing Secret with the connection URLs" $secret.name }}
        key: {{ index $secret.keys $url }}
        {{- if eq $url "chainDatabaseUrl" }}
        optional: true
        {{- end }}
  {{- end }}
  - name: DRAIN_S
    value: {{ $values.drainSeconds | quote }}
  {{- range $name, $value := $values.env }}
  - name: {{ $name }}
    value: {{ include "order-engine.text" $value | quote }}
  {{- end }}
resources:
  {{- toYaml $values.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - name: tmp
    mountPath: /tmp
{{- end }}
