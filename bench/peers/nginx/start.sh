#!/bin/sh
# One worker with an answer of its own: `return` is the least that nginx can do for a request.
# Its files go to SCRATCH, which the benchmark removes.
folder="$SCRATCH/nginx-$PORT"
mkdir -p "$folder"
ssl=''
listen="127.0.0.1:$PORT backlog=4096"
if [ -n "$CERTFILE" ]; then
  listen="$listen ssl"
  ssl="ssl_certificate $CERTFILE; ssl_certificate_key $KEYFILE;"
fi
cat > "$folder/nginx.conf" <<CONF
daemon off;
worker_processes 1;
worker_rlimit_nofile $(ulimit -n);
pid $folder/pid;
error_log stderr crit;
events { worker_connections 16384; }
http {
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 75s;
  default_type text/plain;
  client_body_temp_path $folder/body;
  proxy_temp_path $folder/proxy;
  fastcgi_temp_path $folder/fastcgi;
  uwsgi_temp_path $folder/uwsgi;
  scgi_temp_path $folder/scgi;
  server {
    listen $listen;
    $ssl
    location / { return 200 "Hello, World!\r\n"; }
  }
}
CONF
exec nginx -p "$folder" -c "$folder/nginx.conf" -e stderr
