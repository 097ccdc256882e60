{{/*
Gives every key whose value is null its default: Helm only removes the default. Every template includes this
first, because Helm renders them in any order. defaults.json is a copy of values.yaml, which templates
cannot read.
*/}}
{{- define "order-engine.with-defaults" -}}
{{- include "order-engine.fill" (dict "values" .Values "defaults" (.Files.Get "defaults.json" | fromJson)) -}}
{{- end }}

{{/* Takes values, which it changes, and defaults. */}}
{{- define "order-engine.fill" -}}
{{- range $key, $default := .defaults -}}
{{- $value := index $.values $key -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := set $.values $key $default -}}
{{- else if and (kindIs "map" $default) (not (include "order-engine.is-of-kubernetes" $key)) -}}
{{- include "order-engine.fill" (dict "values" $value "defaults" $default) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Removes the keys whose value is null from a layer, so that the layer before gives theirs. */}}
{{- define "order-engine.without-nulls" -}}
{{- range $key, $value := . -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $ $key -}}
{{- else if and (kindIs "map" $value) (not (include "order-engine.is-of-kubernetes" $key)) -}}
{{- include "order-engine.without-nulls" $value -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Maps in which null removes an entry, as everywhere in Helm. */}}
{{- define "order-engine.is-of-kubernetes" -}}
{{- if has . (list "podSecurityContext" "requests" "limits") }}true{{ end -}}
{{- end }}
