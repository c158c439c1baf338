//! `minirun-api`: the containers of a host, over HTTP.
//!
//! | module | what it is |
//! |---|---|
//! | [`config`] | what it is told |
//! | [`server`], [`tls`] | from a socket to a request |
//! | [`api`] | what can be asked for |
//! | [`extract`], [`envelope`] | what comes in, and the form of what goes out |
//! | [`auth`] | who asks |
//! | [`store`] | where containers are kept |
//! | [`host`], [`index`] | what runs here, and which there are |

mod api;
mod auth;
mod config;
mod envelope;
mod extract;
mod host;
mod index;
mod server;
mod store;
mod tls;
mod web;

use anyhow::{Context, Result, bail};
use api::{App, Guard};
use auth::oidc::Oidc;
use auth::tokens::Tokens;
use auth::{Auth, Role};
use clap::{Parser, Subcommand};
use config::{LogFormat, Serve, address};
use server::Listener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::postgres::Postgres;
use store::{Files, Store};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The containers of this host, over HTTP: what `minirun` does on the command line, for programs and pages.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_help = AFTER)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

const AFTER: &str = "\
Containers are kept in minirun's store, as JSON files; in PostgreSQL as well, if DATABASE_URL is set, or
DB_HOST, DB_PORT, DB_USER, DB_PASSWORD and DB_NAME are. MINIRUN_API_LOG chooses what is logged: info, debug, …

Whoever may operate the API is root on this host, if minirun-api is: a container can see any directory.";

#[derive(Subcommand)]
enum Command {
    /// Serve; what happens without a command
    Serve,
    /// Make a certificate and key for HTTPS, for this host itself, which browsers warn of
    Certificates {
        /// Another name or address that the server is called by. May be repeated
        #[arg(long, value_name = "NAME")]
        name: Vec<String>,
        /// How long it is valid
        #[arg(long, value_name = "DAYS", default_value_t = 365)]
        days: u32,
        /// Replace those that are there
        #[arg(long)]
        force: bool,
    },
    /// Make, list and revoke tokens
    Token {
        #[command(subcommand)]
        what: TokenCommand,
    },
    /// Make containers of those in the database that are of a store which was lost
    Adopt {
        /// As listed without it
        store: Option<String>,
    },
    /// Print the document that describes the API
    Openapi,
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Make a token and print it: it is not kept, and cannot be shown again
    Create {
        /// Whose it is, or what it is for
        name: String,
        /// What it allows
        #[arg(long, value_enum, default_value = "read")]
        role: Role,
        /// How long it is valid: 30d, 12h [default: until it is revoked]
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expires: Option<Duration>,
    },
    /// List the tokens: names, roles and times
    List,
    /// Make a token worthless
    Revoke {
        /// As it was created
        name: String,
    },
}

fn main() -> ExitCode {
    let done = Cli::try_parse();
    let cli = match done {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let serve = cli.serve;
    match cli.command {
        None | Some(Command::Serve) => {}
        Some(Command::Certificates { name, days, force }) => {
            tls::make(&serve.tls_cert, &serve.tls_key, &name, days, force)?;
            println!(
                "made {} and {}",
                serve.tls_cert.display(),
                serve.tls_key.display()
            );
            return Ok(());
        }
        Some(Command::Token { what }) => return token(&what, &Tokens::at(tokens_path(&serve)?)),
        Some(Command::Adopt { store }) => {
            log_to_stderr(serve.log_format);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            return runtime.block_on(adopt(&serve, store.as_deref()));
        }
        Some(Command::Openapi) => {
            println!("{}", api::document().to_pretty_json()?);
            return Ok(());
        }
    }
    log_to_stderr(serve.log_format);
    // Each of them has a stack, and a queue is enough for what the host can do at once.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(64)
        .thread_keep_alive(Duration::from_secs(5))
        .enable_all()
        .build()?;
    runtime.block_on(start(serve))
}

fn tokens_path(serve: &Serve) -> Result<PathBuf> {
    match &serve.tokens {
        Some(path) => Ok(path.clone()),
        None => Ok(minirun::home::store(serve.home.as_deref())?
            .home()
            .join("tokens.json")),
    }
}

fn token(what: &TokenCommand, tokens: &Tokens) -> Result<()> {
    match what {
        TokenCommand::Create {
            name,
            role,
            expires,
        } => {
            println!("{}", tokens.create(name, *role, *expires)?);
        }
        TokenCommand::List => {
            for token in tokens.list()? {
                let role = match token.role {
                    Role::Read => "read",
                    Role::Operate => "operate",
                };
                let end = match &token.expires_at {
                    Some(end) if token.has_expired() => format!("expired {end}"),
                    Some(end) => format!("until {end}"),
                    None => String::new(),
                };
                println!("{:<20} {role:<8} {} {end}", token.name, token.created_at);
            }
        }
        TokenCommand::Revoke { name } => {
            tokens.revoke(name)?;
            println!("revoked {name}");
        }
    }
    Ok(())
}

fn log_to_stderr(format: LogFormat) {
    use tracing_subscriber::EnvFilter;
    let filter = std::env::var("MINIRUN_API_LOG").unwrap_or_else(|_| "info,sqlx=warn".into());
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_target(false);
    match format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.with_ansi(false).init(),
    }
    // In one line, as all else that is logged.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!("{}", panic.to_string().replace('\n', " "));
    }));
}

async fn start(serve: Serve) -> Result<()> {
    let host = host::Host::new(
        minirun::home::store(serve.home.as_deref())?,
        serve.minirun.clone(),
    )?;
    let shutdown = CancellationToken::new();
    let tokens = Tokens::at(tokens_path(&serve)?);
    let oidc = match (&serve.oidc_issuer, &serve.oidc_audience) {
        (Some(issuer), Some(audience)) => Some(Oidc::new(
            issuer.clone(),
            audience.clone(),
            serve.oidc_keys.clone(),
            serve.oidc_claim.clone(),
        )?),
        _ => None,
    };
    let auth = Auth::new(tokens, oidc);
    let (listeners, pair) = listen(&serve, auth.is_required()).await?;
    tokio::spawn(tls::keep_up(pair));
    let mut serving = tokio::task::JoinSet::new();
    let store_done = CancellationToken::new();
    let mut keeping = tokio::task::JoinSet::new();
    let store = open_store(&host, &store_done, &mut keeping).await?;
    let guard = Guard::new(
        serve.cors_origin.clone(),
        serve.host_name.clone(),
        serve.rate,
        serve.limits.requests,
        serve.limits.streams,
    );
    let app = Arc::new(App {
        store,
        host: host.clone(),
        auth,
        guard,
        limits: serve.limits.clone(),
        metrics: Default::default(),
        started: Instant::now(),
        shutdown: shutdown.clone(),
        document: Default::default(),
    });
    tokio::spawn(host.index.clone().follow());
    tokio::spawn(host.keep_reconciled());
    tokio::spawn({
        let app = Arc::clone(&app);
        async move {
            loop {
                tokio::time::sleep(Duration::from_secs(60)).await;
                app.guard.tidy();
            }
        }
    });
    let router = api::router(Arc::clone(&app));
    let room = Arc::new(Semaphore::new(serve.limits.connections));
    let grace = Duration::from_secs(serve.grace);
    let told_to_end = told_to_end()?; // before anybody sees that we listen
    for listener in listeners {
        tracing::info!("listening on {}", listener.url());
        serving.spawn(listener.serve(router.clone(), Arc::clone(&room), shutdown.clone(), grace));
    }
    told_to_end.await;
    tracing::info!(
        "ending: no new connections, and {} s for what goes on",
        serve.grace
    );
    shutdown.cancel();
    serving.join_all().await;
    store_done.cancel();
    keeping.join_all().await;
    tracing::info!("ended");
    Ok(())
}

async fn listen(serve: &Serve, authenticated: bool) -> Result<(Vec<Listener>, Option<tls::Pair>)> {
    let mut listeners = Vec::new();
    let mut pair = None;
    if let Some(address) = address(&serve.http)? {
        serve.check_exposure(address, false, authenticated)?;
        listeners.push(Listener::bind(address, None).await?);
    }
    if let Some(address) = address(&serve.https)? {
        pair = tls::Pair::open(&serve.tls_cert, &serve.tls_key)?;
        if let Some(pair) = &pair {
            serve.check_exposure(address, true, authenticated)?;
            listeners.push(Listener::bind(address, Some(pair.acceptor())).await?);
        }
    }
    if listeners.is_empty() {
        bail!("there is nowhere to listen: HTTP is off, and there is no certificate for HTTPS");
    }
    Ok((listeners, pair))
}

async fn open_store(
    host: &host::Host,
    shutdown: &CancellationToken,
    tracker: &mut tokio::task::JoinSet<()>,
) -> Result<Arc<dyn Store>> {
    let files = Files::of(host.clone());
    let Some(options) = Serve::database()? else {
        return Ok(Arc::new(files));
    };
    let (address, name) = (
        options.get_host().to_owned(),
        options.get_database().map(str::to_owned),
    );
    match Postgres::open(files.clone(), options).await {
        Ok(postgres) => {
            tracing::info!(
                host = address,
                database = name,
                "containers are kept in PostgreSQL too"
            );
            for (store, count) in postgres.stores().await? {
                tracing::info!("{count} containers in the database are of another store, {store}");
            }
            tracker.spawn(postgres.clone().keep_up(shutdown.clone()));
            Ok(Arc::new(postgres))
        }
        Err(error) => {
            tracing::error!(
                host = address,
                "THE DATABASE CANNOT BE USED: {error:#}. Containers are kept in {} ONLY until this server is started again",
                host.store.home().display()
            );
            Ok(Arc::new(files))
        }
    }
}

/// Makes the rows of a store that was lost into containers of this one.
async fn adopt(serve: &Serve, store: Option<&str>) -> Result<()> {
    let host = host::Host::new(
        minirun::home::store(serve.home.as_deref())?,
        serve.minirun.clone(),
    )?;
    let options = Serve::database()?
        .context("no database is named: set DATABASE_URL, or DB_HOST and its like")?;
    let postgres = Postgres::open(Files::of(host), options).await?;
    match store {
        None => {
            for (store, count) in postgres.stores().await? {
                println!("{store} {count}");
            }
        }
        Some(store) => {
            let (count, refused) = postgres.adopt_store(store).await?;
            println!("adopted {count} containers");
            for (name, why) in &refused {
                eprintln!("cannot adopt {name}: {why}");
            }
            if !refused.is_empty() {
                bail!(
                    "{} rows are no containers: correct them, set `refused` to NULL, and they are tried again",
                    refused.len()
                );
            }
        }
    }
    Ok(())
}

/// SIGTERM, or Ctrl-C, from now on.
fn told_to_end() -> Result<impl Future<Output = ()>> {
    let cannot = || "cannot wait for signals";
    let mut terminate = signal(SignalKind::terminate()).with_context(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).with_context(cannot)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
