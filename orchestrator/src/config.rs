//! What the server is told on its command line, or in its environment.

use anyhow::{Context, Result, bail};
use std::net::SocketAddr;
use std::path::PathBuf;

/// How to serve.
#[derive(Debug, Clone, clap::Args)]
pub struct Serve {
    /// The store to use [default: MINIRUN_HOME, or minirun's own]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// The program that starts containers [default: beside this one, or in PATH]
    #[arg(long, value_name = "FILE", env = "MINIRUN_BIN")]
    pub minirun: Option<PathBuf>,
    /// Where to listen for HTTP, or `off`
    #[arg(
        long,
        value_name = "ADDR",
        env = "MINIRUN_API_HTTP",
        default_value = "127.0.0.1:8080"
    )]
    pub http: String,
    /// Where to listen for HTTPS, or `off`; only if there is a certificate
    #[arg(
        long,
        value_name = "ADDR",
        env = "MINIRUN_API_HTTPS",
        default_value = "127.0.0.1:8443"
    )]
    pub https: String,
    /// The certificate, PEM, with those between it and its root
    #[arg(
        long,
        value_name = "FILE",
        env = "TLS_CERT_PATH",
        default_value = "/etc/minirun/cert.pem"
    )]
    pub tls_cert: PathBuf,
    /// Its private key, PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "TLS_KEY_PATH",
        default_value = "/etc/minirun/key.pem"
    )]
    pub tls_key: PathBuf,
    /// Listen beyond the loopback although anybody may do anything: whoever can connect is root on this host
    #[arg(long)]
    pub allow_open: bool,
    /// Listen for plain HTTP beyond the loopback, where tokens can be read by who is between
    #[arg(long)]
    pub allow_plain: bool,
    /// The file of the tokens [default: tokens.json in the store]
    #[arg(long, value_name = "FILE", env = "MINIRUN_API_TOKENS")]
    pub tokens: Option<PathBuf>,
    /// Accept JWTs of this OpenID Connect issuer
    #[arg(
        long,
        value_name = "URL",
        env = "OIDC_ISSUER",
        requires = "oidc_audience"
    )]
    pub oidc_issuer: Option<String>,
    /// That are meant for this audience
    #[arg(long, value_name = "NAME", env = "OIDC_AUDIENCE")]
    pub oidc_audience: Option<String>,
    /// Where the issuer's keys are [default: where its discovery document says]
    #[arg(long, value_name = "URL", env = "OIDC_JWKS_URL")]
    pub oidc_keys: Option<String>,
    /// The claim that holds minirun:read or minirun:operate, besides `scope`; a path, as in realm_access.roles
    #[arg(
        long,
        value_name = "NAME",
        env = "OIDC_ROLES_CLAIM",
        default_value = "roles"
    )]
    pub oidc_claim: String,
    /// An origin whose pages may use the API, or `*` for any. May be repeated
    #[arg(
        long,
        value_name = "ORIGIN",
        env = "MINIRUN_API_CORS",
        value_delimiter = ','
    )]
    pub cors_origin: Vec<String>,
    /// A name that this server is called by, besides localhost. May be repeated
    #[arg(
        long,
        value_name = "NAME",
        env = "MINIRUN_API_HOSTS",
        value_delimiter = ','
    )]
    pub host_name: Vec<String>,
    /// Requests a second from one address, 0 for any number [default: 100, but any from the loopback]
    #[arg(long, value_name = "NUMBER", env = "MINIRUN_API_RATE")]
    pub rate: Option<u32>,
    #[command(flatten)]
    pub limits: Limits,
    /// How the log is written, to standard error
    #[arg(
        long,
        value_enum,
        env = "MINIRUN_API_LOG_FORMAT",
        default_value = "text"
    )]
    pub log_format: LogFormat,
    /// Seconds that requests may go on after SIGTERM
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub grace: u64,
}

/// How much of anything.
#[derive(Debug, Clone, clap::Args)]
pub struct Limits {
    /// The greatest body, bytes
    #[arg(long = "max-body", value_name = "BYTES", default_value_t = 256 << 10)]
    pub body: usize,
    /// Connections at once; more wait
    #[arg(
        long = "max-connections",
        value_name = "NUMBER",
        value_parser = at_least_one,
        default_value_t = 1024
    )]
    pub connections: usize,
    /// Requests at once; more get 503
    #[arg(
        long = "max-requests",
        value_name = "NUMBER",
        value_parser = at_least_one,
        default_value_t = 512
    )]
    pub requests: usize,
    /// Clients that follow logs, events or statistics at once; more get 503
    #[arg(long = "max-streams", value_name = "NUMBER", default_value_t = 128)]
    pub streams: usize,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("with none, nobody is served".into()),
        Ok(number) => Ok(number),
        Err(_) => Err("it is no number".into()),
    }
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// An address to listen on, or none.
pub fn address(text: &str) -> Result<Option<SocketAddr>> {
    if text == "off" {
        return Ok(None);
    }
    let text = text.replacen("localhost:", "127.0.0.1:", 1);
    let address = text
        .parse()
        .with_context(|| format!("{text} is no address: write 127.0.0.1:8080, or off"));
    address.map(Some)
}

impl Serve {
    /// Refuses what would give the host away.
    pub fn check_exposure(
        &self,
        address: SocketAddr,
        secure: bool,
        authenticated: bool,
    ) -> Result<()> {
        if address.ip().is_loopback() {
            return Ok(());
        }
        if !authenticated && !self.allow_open {
            bail!(
                "{address} can be reached from elsewhere, and there are no tokens: whoever connects would be root here\n\
                 make one with `minirun-api token create NAME`, name an issuer with --oidc-issuer, or say --allow-open"
            );
        }
        if !secure && !self.allow_plain {
            bail!(
                "{address} can be reached from elsewhere, and HTTP shows tokens to who is between\n\
                 use --https with `minirun-api certificates`, or say --allow-plain"
            );
        }
        Ok(())
    }

    /// The URL of the database, if one is named: DATABASE_URL, or the original's DB_* variables.
    pub fn database() -> Result<Option<sqlx::postgres::PgConnectOptions>> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(url) = set("DATABASE_URL") {
            // Not the error, which could show the password.
            let known = url.starts_with("postgres://") || url.starts_with("postgresql://");
            let Some(options) = url.parse().ok().filter(|_| known) else {
                bail!(
                    "DATABASE_URL is no URL of a PostgreSQL: write postgres://USER:PASSWORD@HOST:PORT/NAME"
                );
            };
            return Ok(Some(options));
        }
        let Some(host) = set("DB_HOST") else {
            return Ok(None);
        };
        let port = set("DB_PORT").unwrap_or_else(|| "5432".into());
        let port = port
            .parse()
            .with_context(|| format!("DB_PORT is no port: {port}"))?;
        let mut options = sqlx::postgres::PgConnectOptions::new_without_pgpass()
            .host(&host)
            .port(port);
        if let Some(user) = set("DB_USER") {
            options = options.username(&user);
        }
        if let Some(password) = set("DB_PASSWORD") {
            options = options.password(&password);
        }
        let name = set("DB_NAME").unwrap_or_else(|| "minirun".into());
        Ok(Some(options.database(&name)))
    }
}
