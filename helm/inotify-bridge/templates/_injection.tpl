{{/* The sidecar of injected pods: the named templates of inotify-bridge-sidecar, with these values. */}}
{{- define "inotify-bridge.injection.context" -}}
{{- $sidecar := dict
      "image" .Values.image
      "volume" "@volume@"
      "subPath" ""
      "mountPath" "/watch"
      "config" .Values.injection.config
      "configMapName" (printf "%s-injected" (include "inotify-bridge.fullname" .))
      "onConfigChange" "reload"
      "secrets" .Values.injection.secrets
      "listenAddress" .Values.listenAddress
      "port" .Values.port
      "extraEnv" list
      "stateSizeLimit" .Values.persistence.emptyDir.sizeLimit
      "resources" .Values.injection.resources
      "securityContext" (mergeOverwrite
          (pick .Values.podSecurityContext "runAsUser" "runAsGroup" "runAsNonRoot" "seccompProfile")
          (deepCopy .Values.securityContext))
      "startupProbe" .Values.startupProbe
      "livenessProbe" .Values.livenessProbe -}}
{{- toJson (dict "Values" (dict "inotify-bridge-sidecar" $sidecar) "Release" (dict "Name" .Release.Name "Service" .Release.Service)) -}}
{{- end -}}

{{/* A value as a CEL literal. CEL wants the values of a list or map to be of one type: dyn() makes them so. */}}
{{- define "inotify-bridge.cel" -}}
{{- if kindIs "map" . -}}
{{- $parts := list -}}
{{- range $key, $value := . -}}
{{- $parts = append $parts (printf "%s: dyn(%s)" (toJson $key) (include "inotify-bridge.cel" $value)) -}}
{{- end -}}
{ {{- join ", " $parts -}} }
{{- else if kindIs "slice" . -}}
{{- $parts := list -}}
{{- range . -}}
{{- $parts = append $parts (printf "dyn(%s)" (include "inotify-bridge.cel" .)) -}}
{{- end -}}
[ {{- join ", " $parts -}} ]
{{- else -}}
{{- toJson . | replace "\"@volume@\"" "variables.volume" -}}
{{- end -}}
{{- end -}}
