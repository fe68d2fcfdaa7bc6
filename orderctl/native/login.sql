-- A service's login and the database that it owns, which no other login but the operator's may enter. Run by psql as the
-- operator, for LOGIN_NAME and LOGIN_PASSWORD in its environment, as often as wanted: by native mode at each `up`, in compose at
-- each start of the container.
\set ON_ERROR_STOP on
\getenv name LOGIN_NAME
\getenv password LOGIN_PASSWORD
SET log_min_error_statement = panic; -- no password in a log
SELECT format('CREATE ROLE %I LOGIN', :'name')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name') \gexec
ALTER ROLE :"name" PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'name')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC;
