{{/*
Where the URLs are: variable -> store, Secret, key in it, and whether it may be missing.
*/}}
{{- define "order-engine.urls" -}}
{{- $postgres := .Values.postgres.secret -}}
{{- $redis := .Values.redis.secret -}}
{{- $named := dict
  "DATABASE_URL" (dict "store" "postgres" "key" $postgres.urlKey)
  "CHAIN_DATABASE_URL" (dict "store" "postgres" "key" $postgres.chainUrlKey "optional" true)
  "REDIS_URL" (dict "store" "redis" "key" $redis.urlKey)
  "REDIS_QUEUE_URL" (dict "store" "redis" "key" $redis.queueUrlKey "optional" true)
  "REDIS_PUBSUB_URL" (dict "store" "redis" "key" $redis.pubsubUrlKey "optional" true)
-}}
{{- range $variable, $url := $named -}}
{{- $secret := (index $.Values $url.store).secret.name -}}
{{- if not $secret -}}
{{- $_ := set $url "key" $variable -}}
{{- end -}}
{{- $_ := set $url "secret" ($secret | default (printf "%s-%s" (include "order-engine.fullname" $) $url.store)) -}}
{{- end -}}
{{- toYaml $named -}}
{{- end }}

{{/* What the Secrets that the chart makes hold: store -> variable -> URL; a store with a Secret of its own is left out. */}}
{{- define "order-engine.given-urls" -}}
{{- $stores := dict -}}
{{- $fullname := include "order-engine.fullname" . -}}
{{- if .Values.development.postgres.enabled -}}
{{- $_ := set $stores "postgres" (dict
  "DATABASE_URL" (printf "postgresql://engine:engine@%s-postgres:5432/orders" $fullname)
  "CHAIN_DATABASE_URL" (printf "postgresql://chain:chain@%s-postgres:5432/chain" $fullname)) -}}
{{- else if .Values.postgres.url -}}
{{- $_ := set $stores "postgres" (dict "DATABASE_URL" .Values.postgres.url "CHAIN_DATABASE_URL" .Values.postgres.chainUrl) -}}
{{- end -}}
{{- if .Values.development.redis.enabled -}}
{{- $_ := set $stores "redis" (dict "REDIS_URL" (printf "redis://%s-redis:6379/0" $fullname)) -}}
{{- else if .Values.redis.url -}}
{{- $urls := dict -}}
{{- range $variable, $url := dict "REDIS_URL" .Values.redis.url "REDIS_QUEUE_URL" .Values.redis.queueUrl "REDIS_PUBSUB_URL" .Values.redis.pubsubUrl -}}
{{- if and $url $.Values.redis.tls.caSecret (not (contains "ssl_ca_certs=" $url)) -}}
{{- if not (hasPrefix "rediss://" $url) -}}
{{- fail "redis.tls.caSecret needs URLs that begin with rediss://" -}}
{{- end -}}
{{- $url = printf "%s%sssl_ca_certs=/etc/order-engine/redis-ca/ca.crt" $url (ternary "&" "?" (contains "?" $url)) -}}
{{- end -}}
{{- $_ := set $urls $variable $url -}}
{{- end -}}
{{- $_ := set $stores "redis" $urls -}}
{{- end -}}
{{- toYaml $stores -}}
{{- end }}

{{/* The authorities that a component needs to check its stores: volume -> Secret, key. Takes root, component. */}}
{{- define "order-engine.authorities" -}}
{{- $authorities := dict -}}
{{- range $store, $scheme := dict "postgres" "DATABASE" "redis" "REDIS" -}}
{{- $tls := (index $.root.Values $store).tls -}}
{{- if and $tls.caSecret (include "order-engine.opens" (dict "component" $.component "store" $scheme)) -}}
{{- $_ := set $authorities (printf "%s-ca" $store) (dict "secret" $tls.caSecret "key" $tls.caKey) -}}
{{- end -}}
{{- end -}}
{{- toYaml $authorities -}}
{{- end }}

{{/* The ports at which a component opens a store, as in a policy. Takes root, component, store. */}}
{{- define "order-engine.ports" -}}
{{- $given := ternary nil (index .root.Values .store).ports (index .root.Values.development .store).enabled -}}
{{- $ports := $given | default list -}}
{{- $usual := ternary 5432 6379 (eq .store "postgres") -}}
{{- $urls := index (include "order-engine.given-urls" .root | fromYaml) .store | default dict -}}
{{- range $variable := ternary (list) .component.urls (not (empty $ports)) -}}
{{- with index $urls $variable -}}
{{- /* a URL of PostgreSQL may name several hosts */ -}}
{{- range regexReplaceAll "^[^:]+://([^/?#]*@)?([^/?#]*).*$" . "${2}" | splitList "," -}}
{{- $ports = append $ports (regexFind ":[0-9]+$" . | trimPrefix ":" | default $usual | int) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $rules := list -}}
{{- range $ports | default (list $usual) | uniq -}}
{{- $rules = append $rules (dict "port" (int .)) -}}
{{- end -}}
{{- toJson $rules -}}
{{- end }}
