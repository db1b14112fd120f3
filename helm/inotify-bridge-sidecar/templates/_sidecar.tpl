{{/*
What the chart of an application includes, each with its whole context (`.`):

  inotify-bridge-sidecar.container   an item of spec.initContainers
  inotify-bridge-sidecar.volumes     items of spec.volumes
  inotify-bridge-sidecar.configMap   the ConfigMap, a manifest of its own
  inotify-bridge-sidecar.annotations of the pod; empty unless onConfigChange is restart
*/}}


{{- define "inotify-bridge-sidecar.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default "0.1.0" }}
{{- end -}}
{{- end -}}

{{- define "inotify-bridge-sidecar.configMapName" -}}
{{- (index .Values "inotify-bridge-sidecar").configMapName | default (printf "%s-inotify-bridge-sidecar" .Release.Name | trunc 63 | trimSuffix "-") -}}
{{- end -}}

{{/* The agent's whole configuration. Addresses, state and identity follow from the pod and are not asked for. */}}
{{- define "inotify-bridge-sidecar.config" -}}
{{- $sidecar := index .Values "inotify-bridge-sidecar" -}}
{{- if not (and $sidecar.config.watch_groups $sidecar.config.sinks) -}}
{{- fail "config: say what to watch and where to send it: watch_groups and sinks" -}}
{{- end -}}
{{- if hasKey (dig "http" dict $sidecar.config) "listen" -}}
{{- fail "config.http.listen: set `port` instead: the probes ask there" -}}
{{- end -}}
{{- if hasKey (dig "http" dict $sidecar.config) "admin_socket" -}}
{{- fail "config.http.admin_socket: the chart sets it" -}}
{{- end -}}
{{- if hasKey (dig "state" dict $sidecar.config) "dir" -}}
{{- fail "config.state.dir: the state of a sidecar is in a volume of its pod" -}}
{{- end -}}
{{- include "inotify-bridge-sidecar.mounted" (dict "config" $sidecar.config "mounts" (list (clean $sidecar.mountPath)) "roots" list) -}}
{{- include "inotify-bridge-sidecar.room" (dict "config" $sidecar.config "limit" $sidecar.stateSizeLimit) -}}
{{- $host := "${POD_NAME}.${POD_NAMESPACE}" -}}
{{- $added := dict
      "http" (dict "listen" (printf "%s:%v" $sidecar.listenAddress $sidecar.port) "admin_socket" "/run/inotify-bridge/admin.sock")
      "state" (dict "dir" "/var/lib/inotify-bridge")
      "events" (dict "host" $host)
      "log" (dict "format" "json") -}}
{{- $config := mergeOverwrite $added (deepCopy $sidecar.config) -}}
{{- if not $config.events.host -}}
{{- $_ := set $config.events "host" $host -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* Fails where a group watches what is not mounted: its root would be lost, in a pod that is ready. */}}
{{- define "inotify-bridge-sidecar.mounted" -}}
{{- range $group := .config.watch_groups -}}
{{- range $group.paths -}}
{{- $path := kindIs "map" . | ternary . (dict "path" .) -}}
{{- $path = get $path "path" | clean -}}
{{- $found := has $path $.roots -}}
{{- range $.mounts -}}
{{- $found = or $found (eq $path .) (hasPrefix (printf "%s/" .) $path) -}}
{{- end -}}
{{- if and (hasPrefix "/" $path) (not $found) -}}
{{- fail (printf "config.watch_groups: `%s` watches %s, where nothing is mounted in the container: mounted is %s" $group.name $path (join ", " $.mounts | default "nothing, see `watch`")) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Fails where the states of all groups, of 1GiB each unless `state.max_bytes` says otherwise, are too much. */}}
{{- define "inotify-bridge-sidecar.room" -}}
{{- $groups := len (.config.watch_groups | default list) -}}
{{- if and (not (dig "state" "max_bytes" "" .config)) (regexMatch "^[0-9]+Gi$" (toString .limit)) -}}
{{- if ge $groups (trimSuffix "Gi" .limit | int) -}}
{{- fail (printf "the state of %d group(s), 1GiB each, needs more than %s, which a broker that is away would fill: raise it, or lower config.state.max_bytes" $groups .limit) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "inotify-bridge-sidecar.configMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "inotify-bridge-sidecar.configMapName" . }}
  labels:
    app.kubernetes.io/name: inotify-bridge-sidecar
    app.kubernetes.io/instance: {{ toYaml .Release.Name }}
    app.kubernetes.io/managed-by: {{ .Release.Service }}
data:
  config.yaml: |
    {{- include "inotify-bridge-sidecar.config" . | nindent 4 }}
{{- end -}}

{{- define "inotify-bridge-sidecar.annotations" -}}
{{- if eq (index .Values "inotify-bridge-sidecar").onConfigChange "restart" -}}
checksum/inotify-bridge: {{ include "inotify-bridge-sidecar.config" . | sha256sum }}
{{- end -}}
{{- end -}}

{{- define "inotify-bridge-sidecar.container" -}}
{{- $sidecar := index .Values "inotify-bridge-sidecar" -}}
- name: inotify-bridge
  image: {{ include "inotify-bridge-sidecar.image" $sidecar | quote }}
  imagePullPolicy: {{ $sidecar.image.pullPolicy }}
  # A native sidecar (Kubernetes 1.29): started before the application, ended after it.
  restartPolicy: Always
  args:
    - run
    {{- if eq $sidecar.onConfigChange "reload" }}
    - --reload-on-change
    {{- end }}
  env:
    - name: INOTIFY_BRIDGE_CONFIG
      value: /etc/inotify-bridge/config.yaml
    - name: NODE_NAME
      valueFrom:
        fieldRef:
          fieldPath: spec.nodeName
    - name: POD_NAME
      valueFrom:
        fieldRef:
          fieldPath: metadata.name
    - name: POD_NAMESPACE
      valueFrom:
        fieldRef:
          fieldPath: metadata.namespace
    {{- with $sidecar.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - name: inotify-bridge
      containerPort: {{ $sidecar.port }}
      protocol: TCP
  # Holds the application until every directory is watched. There is no readiness probe: a sidecar's would
  # take the application out of its Service.
  startupProbe:
    httpGet:
      path: /startupz
      port: {{ $sidecar.port }}
    {{- toYaml $sidecar.startupProbe | nindent 4 }}
  livenessProbe:
    httpGet:
      path: /livez
      port: {{ $sidecar.port }}
    {{- toYaml $sidecar.livenessProbe | nindent 4 }}
  resources:
    {{- toYaml $sidecar.resources | nindent 4 }}
  securityContext:
    {{- toYaml $sidecar.securityContext | nindent 4 }}
  volumeMounts:
    - name: {{ required "volume: name the volume that the application writes to" $sidecar.volume | quote }}
      mountPath: {{ $sidecar.mountPath | quote }}
      {{- with $sidecar.subPath }}
      subPath: {{ . | quote }}
      {{- end }}
      readOnly: true
    - name: inotify-bridge-config
      mountPath: /etc/inotify-bridge
      readOnly: true
    - name: inotify-bridge
      mountPath: /var/lib/inotify-bridge
      subPath: state
    - name: inotify-bridge
      mountPath: /run/inotify-bridge
      subPath: run
    - name: inotify-bridge
      mountPath: /tmp
      subPath: tmp
    {{- range $sidecar.secrets }}
    - name: inotify-bridge-{{ .name }}
      mountPath: /run/secrets/{{ .name }}
      readOnly: true
    {{- end }}
{{- end -}}

{{- define "inotify-bridge-sidecar.volumes" -}}
{{- $sidecar := index .Values "inotify-bridge-sidecar" -}}
- name: inotify-bridge-config
  configMap:
    name: {{ include "inotify-bridge-sidecar.configMapName" . }}
- name: inotify-bridge
  emptyDir:
    sizeLimit: {{ $sidecar.stateSizeLimit }}
{{- range $index, $secret := $sidecar.secrets }}
{{- if eq .name "config" -}}
{{- fail "secrets: the name `config` is that of the configuration's volume" -}}
{{- end -}}
{{- range slice $sidecar.secrets 0 $index -}}
{{- if eq .name $secret.name -}}
{{- fail (printf "secrets: the name `%s` is there twice" .name) -}}
{{- end -}}
{{- end }}
- name: inotify-bridge-{{ .name }}
  secret:
    secretName: {{ .secretName }}
{{- end }}
{{- end -}}
