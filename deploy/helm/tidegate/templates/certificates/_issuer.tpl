{{- /* The pod that fills Secrets with certificates, and renews them. */ -}}
{{- define "tidegate.issuerPod" -}}
metadata:
  labels: {{- include "tidegate.selector" (dict "root" $ "part" "issuer") | nindent 4 }}
spec:
  serviceAccountName: {{ include "tidegate.issuer" . }}
  automountServiceAccountToken: true
  enableServiceLinks: false
  restartPolicy: OnFailure
  securityContext: {{- include "tidegate.podSecurity" . | nindent 4 }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
  - name: issuer
    image: {{ include "tidegate.image" . }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    args:
    - certs
    - secrets
    - --namespace={{ .Release.Namespace }}
    - --trust-domain={{ .Values.certificates.trustDomain }}
    - --authority={{ include "tidegate.authoritySecret" . }}
    - --issue={{ include "tidegate.configdSecret" . }}=configd/configd
    - --issue={{ include "tidegate.operatorSecret" . }}=operator/kubernetes
    resources:
      requests: {cpu: 10m, memory: 32Mi}
      limits: {memory: 128Mi}
    securityContext: {{- include "tidegate.containerSecurity" . | nindent 6 }}
{{- end -}}
