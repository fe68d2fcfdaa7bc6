#!/bin/sh
# Makes edge.pem and edge.key for loopback in a folder, unless a certificate is there that holds for a week more.
# One of your own goes there under the same names.
set -eu
folder=${1:-$EDGE_FOLDER}
umask 077
mkdir -p "$folder"
if [ -s "$folder/edge.key" ] && openssl x509 -noout -checkend 604800 -in "$folder/edge.pem" >/dev/null 2>&1; then
    exit 0
fi
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1 -addext keyUsage=critical,digitalSignature,keyCertSign \
    -addext extendedKeyUsage=serverAuth -keyout "$folder/edge.key.new" -out "$folder/edge.pem.new" 2>/dev/null
mv "$folder/edge.key.new" "$folder/edge.key"
mv "$folder/edge.pem.new" "$folder/edge.pem"
