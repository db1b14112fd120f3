{{/*
The agent's whole configuration: what follows from the pod, and what the values say.

events.host is part of the identity of the stream (another one begins a new epoch with a full snapshot), so it
must outlive the pod: the node for a DaemonSet, release and namespace for a Deployment.
*/}}
{{- define "inotify-bridge.config" -}}
{{- range $key, $instead := dict "http.listen" "port" "http.admin_token_file" "adminToken" "http.admin_socket" "" "state.dir" "persistence" -}}
{{- $path := splitList "." $key -}}
{{- if hasKey (dig (first $path) dict $.Values.config) (last $path) -}}
{{- fail (printf "config.%s: the chart sets it%s" $key (empty $instead | ternary "" (printf "; see `%s`" $instead))) -}}
{{- end -}}
{{- end -}}
{{- $http := dict "listen" (printf "%s:%v" .Values.listenAddress .Values.port) "admin_socket" "/run/inotify-bridge/admin.sock" -}}
{{- if .Values.adminToken.existingSecret -}}
{{- $_ := set $http "admin_token_file" (printf "/run/secrets/admin-token/%s" .Values.adminToken.key) -}}
{{- end -}}
{{- $host := eq .Values.mode "daemonset" | ternary "${NODE_NAME}" (printf "%s.%s" (include "inotify-bridge.fullname" .) .Release.Namespace) -}}
{{- $added := dict "http" $http "events" (dict "host" $host) "log" (dict "format" "json") -}}
{{- if ne .Values.persistence.type "none" -}}
{{- $_ := set $added "state" (dict "dir" "/var/lib/inotify-bridge") -}}
{{- end -}}
{{- $config := mergeOverwrite $added (deepCopy .Values.config) -}}
{{- if not $config.events.host -}}
{{- $_ := set $config.events "host" $host -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}
