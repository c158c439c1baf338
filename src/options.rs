//! The options of a new container, as people write them: `create`, `run` and the API check the same. An error
//! names the option that is wrong: [`Error::field`]. Lesson: 5, the runtime.

use crate::cgroup::{Changes, Limits};
use crate::log::LogLimits;
use crate::metrics::memory_total;
use crate::name::Name;
use crate::record::{Config, Network, Record};
use crate::store::Store;
use crate::units::{self, format_size, parse_cpus, parse_size, shell_words};
use crate::volume::Volume;
use crate::{Context, Error, Result, container, rootfs};
use clap::Args;
use std::path::{Path, PathBuf};

/// What the container may use.
#[derive(Debug, Default, Args)]
pub struct LimitOptions {
    /// Memory, at which the kernel kills: 64M, 1.5G, or max
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Memory and swap together [default: as --memory, so no swap]
    #[arg(long, value_name = "SIZE")]
    pub memory_swap: Option<String>,
    /// Cores: 0.5, 2, 50%, or max
    #[arg(long, visible_alias = "cpu", value_name = "CORES")]
    pub cpus: Option<String>,
    /// Processes and threads: a number, or max
    #[arg(long, alias = "pids-limit", value_name = "NUMBER")]
    pub pids: Option<String>,
}

impl LimitOptions {
    /// What is no error, as the container may have been made for a larger host, or for memory that is yet to come,
    /// and should be said.
    pub fn warning(&self) -> Option<String> {
        let bytes = parse_size(self.memory.as_ref()?).ok()??;
        let all = memory_total().filter(|all| bytes > *all)?;
        let (limit, all) = (format_size(bytes), format_size(all));
        Some(format!(
            "this host has {all} of memory: a limit of {limit} is never reached"
        ))
    }

    /// Checks the limits that were given.
    ///
    /// # Errors
    /// If one is no limit, is too small for any program, or more than this host has.
    pub fn changes(&self) -> Result<Changes> {
        let memory_swap = given("memory_swap", self.memory_swap.as_ref(), parse_size)?;
        Ok(Changes {
            memory: given("memory", self.memory.as_ref(), |text| {
                parse_size(text)?.map(enough_memory).transpose()
            })?,
            memory_swap: memory_swap.map(|bytes| bytes.unwrap_or(i64::MAX as u64)),
            cpus: given("cpus", self.cpus.as_ref(), |text| {
                parse_cpus(text)?.map(cores_of_this_host).transpose()
            })?,
            pids: given("pids", self.pids.as_ref(), parse_pids)?,
        })
    }
}

/// Parses an option, if it was given, so that an error names it.
fn given<T>(
    field: &str,
    value: Option<&String>,
    parse: impl FnOnce(&str) -> Result<T>,
) -> Result<Option<T>> {
    let parsed = value.map(|text| parse(text)).transpose();
    parsed.map_err(|error| error.of_field(field))
}

/// How the container is to be run.
#[derive(Debug, Args)]
#[command(mut_arg("memory", |arg| arg.default_value("512M")))]
#[command(mut_arg("cpus", |arg| arg.default_value("0.5")))]
#[command(mut_arg("pids", |arg| arg.default_value("max")))]
pub struct Options {
    /// The directory that becomes / inside [default: one built from this host's own programs]
    #[arg(long, value_name = "DIR")]
    pub rootfs: Option<PathBuf>,
    /// A command for the container's shell [default: /bin/bash, or /bin/sh if absent]
    #[arg(long, value_name = "CMD", conflicts_with = "args")]
    pub command: Option<String>,
    /// What it may use.
    #[command(flatten)]
    pub limits: LimitOptions,
    /// The host name inside [default: the container's name]
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// A variable for the environment; without a value, yours is taken. May be repeated
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// The directory to start in; made if it is missing [default: /]
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Who to be inside, by name or number [default: root]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// A directory or file of the host to see inside. May be repeated
    #[arg(short, long, value_name = "SRC:DST[:ro]")]
    pub volume: Vec<String>,
    /// Let nothing be written to the root filesystem
    #[arg(long)]
    pub read_only: bool,
    /// The host's network, or none but a loopback interface
    #[arg(long, value_enum, default_value = "host")]
    pub network: Network,
    /// Fail if a limit or the user ids cannot be set, instead of saying so and going on
    #[arg(long)]
    pub strict: bool,
    /// In the background: keep its input open, for `minirun attach` to type into
    #[arg(short, long)]
    pub interactive: bool,
    /// In the background: give it a terminal (in the foreground it has one if you do)
    #[arg(short, long)]
    pub tty: bool,
    /// Have an init as process 1, which reaps orphans and passes signals on to the command
    #[arg(long)]
    pub init: bool,
    /// In the background: start it again when it ends: no, always, on-failure, on-failure:N
    #[arg(long, value_name = "POLICY", default_value = "no")]
    pub restart: String,
    /// In the background: the size at which a new file of its log is begun
    #[arg(long, value_name = "SIZE", default_value = "10M")]
    pub log_max_size: String,
    /// In the background: how many files of its log there are at most
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub log_max_files: u32,
    /// The command and its arguments, run without a shell
    #[arg(last = true, value_name = "CMD")]
    pub args: Vec<String>,
}

impl Options {
    /// Checks the options and makes a record of them. `default_root` is asked for the default root
    /// filesystem, if it is wanted.
    ///
    /// # Errors
    /// If an option is wrong, or the name is taken.
    pub fn into_record(
        self,
        name: &Name,
        store: &Store,
        default_root: impl FnOnce(&Store) -> Result<PathBuf>,
    ) -> Result<Record> {
        let config = self.config()?; // first, because a root filesystem takes time
        store.check_free(name.as_str())?;
        let root = match &self.rootfs {
            Some(dir) => usable_root(dir).map_err(|error| error.of_field("rootfs"))?,
            None => default_root(store)?,
        };
        let command = match (&self.command, &config.args) {
            (Some(command), _) => command.clone(),
            (None, Some(args)) => shell_words(args),
            (None, None) => container::shell(&root).to_owned(),
        };
        let mut record = container::new_record(name, &root, &command);
        record.config = config;
        if self.command.is_none() && record.config.args.is_none() {
            record.config.args = Some(vec![command]);
        }
        Ok(record)
    }

    fn config(&self) -> Result<Config> {
        let limits = self.limits.changes()?.apply(&Limits::default())?;
        // Only if it is needed: it may have been removed.
        let here = match self.volume.iter().all(|text| text.starts_with('/')) {
            true => PathBuf::new(),
            false => std::env::current_dir().context(|| "cannot tell the current directory")?,
        };
        let volumes = self.volume.iter().map(|text| {
            let volume = Volume::parse(text, &here)?;
            volume.source_metadata()?;
            Ok(volume.to_string())
        });
        let volumes = volumes.collect::<Result<_>>();
        let env = self.env.iter();
        let env = env.filter_map(|text| variable(text).transpose());
        let env = env.collect::<Result<_>>();
        Ok(Config {
            args: (!self.args.is_empty()).then(|| self.args.clone()),
            env: env.map_err(|error: Error| error.of_field("env"))?,
            hostname: given("hostname", self.hostname.as_ref(), hostname)?,
            workdir: given("workdir", self.workdir.as_ref(), workdir)?,
            user: self.user.clone(),
            volumes: volumes.map_err(|error: Error| error.of_field("volume"))?,
            read_only: self.read_only,
            network: self.network,
            limits,
            strict: self.strict,
            remove: false,
            terminal: self.tty,
            interactive: self.interactive,
            init: self.init,
            restart: self
                .restart
                .parse()
                .map_err(|error: Error| error.of_field("restart"))?,
            log: LogLimits {
                max_size: log_size(&self.log_max_size)
                    .map_err(|error| error.of_field("log_max_size"))?,
                max_files: self.log_max_files,
            },
        })
    }
}

/// Checks how a container is to be run, where somebody else has written that down. Whether this host has what it
/// takes, the source of a volume or so many cores, its start will tell.
///
/// # Errors
/// If something makes no sense; the error names the option.
pub fn check(config: &Config) -> Result<()> {
    let each = |field: &str, texts: &[String], check: fn(&str) -> Result<()>| {
        let checked = texts.iter().try_for_each(|text| match text.contains('\0') {
            true => Err(Error::new(format!("{text:?} holds a NUL"))),
            false => check(text),
        });
        checked.map_err(|error| error.of_field(field))
    };
    each("args", config.args.as_deref().unwrap_or_default(), |_| {
        Ok(())
    })?;
    each("env", &config.env, |text| match text.find('=') {
        Some(1..) => Ok(()),
        _ => Err(Error::new(format!("bad variable {text:?}")).hint("write NAME=VALUE")),
    })?;
    each("hostname", config.hostname.as_slice(), |text| {
        hostname(text).map(drop)
    })?;
    each("workdir", config.workdir.as_slice(), |text| {
        workdir(text).map(drop)
    })?;
    each("user", config.user.as_slice(), |_| Ok(()))?;
    each("volume", &config.volumes, |text| {
        match text.starts_with('/') {
            true => Volume::parse(text, Path::new("/")).map(drop),
            false => Err(Error::new(format!(
                "bad volume {text:?}: SRC must be absolute"
            ))),
        }
    })?;
    if config
        .args
        .as_ref()
        .is_some_and(|args| args.first().is_none_or(String::is_empty))
    {
        return Err(Error::new("args names no program").of_field("args"));
    }
    let Limits {
        memory,
        memory_swap,
        cpus,
        pids,
    } = config.limits;
    let memory = memory
        .map(enough_memory)
        .transpose()
        .map_err(|error| error.of_field("memory"))?;
    given(
        "cpus",
        cpus.map(|cpus| cpus.to_string()).as_ref(),
        parse_cpus,
    )?;
    given(
        "pids",
        pids.map(|pids| pids.to_string()).as_ref(),
        parse_pids,
    )?;
    let both = Changes {
        memory: Some(memory),
        memory_swap,
        ..Changes::default()
    };
    both.apply(&Limits::default())?;
    let LogLimits {
        max_size,
        max_files,
    } = config.log;
    enough_log(max_size).map_err(|error| error.of_field("log_max_size"))?;
    match (1..=100).contains(&max_files) {
        true => Ok(()),
        false => Err(Error::new(format!("a log of {max_files} files"))
            .hint("1 to 100 files")
            .of_field("log_max_files")),
    }
}

fn usable_root(dir: &Path) -> Result<PathBuf> {
    rootfs::check(dir)?;
    dir.canonicalize()
        .context(|| format!("cannot use {} as the root filesystem", dir.display()))
}

/// The default root filesystem, where nothing may be built.
///
/// # Errors
/// If it is not there yet.
pub fn default_root_as_it_is(store: &Store) -> Result<PathBuf> {
    let root = rootfs::default_in(store.home());
    match root.exists() {
        true => rootfs::check(&root).map(|()| root),
        false => Err(Error::new("the default root filesystem is not built yet")
            .hint("`minirun rootfs build` makes it; or name another with --rootfs DIR")),
    }
}

/// `NAME=VALUE` as it is; `NAME` with our own value, or not at all if we have none (docker-run(1)).
///
/// # Errors
/// If it has no name.
pub fn variable(text: &str) -> Result<Option<String>> {
    match text.split_once('=').map_or(text, |(name, _)| name) {
        "" => Err(Error::new(format!("bad variable {text:?}: it has no name"))
            .hint("write NAME=VALUE, or NAME to pass your own value on")),
        name if name == text => Ok(std::env::var(name)
            .ok()
            .map(|value| format!("{name}={value}"))),
        _ => Ok(Some(text.to_owned())),
    }
}

fn log_size(text: &str) -> Result<u64> {
    enough_log(parse_size(text)?.unwrap_or(u64::MAX))
}

/// A log whose lines did not fit into it would be of no use.
fn enough_log(bytes: u64) -> Result<u64> {
    const LEAST: u64 = 64 << 10;
    match bytes >= LEAST {
        true => Ok(bytes),
        false => {
            Err(Error::new(format!("a log of {bytes} bytes is too small"))
                .hint("at least 64K, or max"))
        }
    }
}

/// Below this not even a shell can start, and the kernel would kill it before it could say anything.
fn enough_memory(bytes: u64) -> Result<u64> {
    const LEAST: u64 = 4 << 20;
    if bytes < LEAST {
        let too_small = format!("a memory limit of {bytes} bytes is too small");
        let hint = "at least 4M are needed to start a program; sizes without a unit are bytes";
        return Err(Error::new(too_small).hint(hint));
    }
    Ok(bytes)
}

/// More cores than there are is a per cent sign that was forgotten.
fn cores_of_this_host(cpus: f64) -> Result<f64> {
    let online = nix::unistd::SysconfVar::_NPROCESSORS_ONLN;
    let cores = nix::unistd::sysconf(online).ok().flatten();
    match cores {
        Some(cores) if cpus > cores as f64 => Err(Error::new(format!(
            "this host has {cores} cores, not {cpus}"
        ))
        .hint("half a core is `--cpus 0.5` or `--cpu 50%`; `max` is no limit")),
        _ => Ok(cpus),
    }
}

fn parse_pids(text: &str) -> Result<Option<u64>> {
    match (text, text.parse()) {
        (units::NO_LIMIT, _) => Ok(None),
        (_, Ok(number)) if number > 0 => Ok(Some(number)),
        _ => Err(Error::new(format!("bad number of processes {text:?}"))
            .hint("write a number above zero, or `max` for no limit")),
    }
}

/// What sethostname(2) takes, and a resolver understands.
fn hostname(text: &str) -> Result<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    match !text.is_empty() && text.len() <= 64 && text.chars().all(allowed) {
        true => Ok(text.to_owned()),
        false => Err(Error::new(format!("bad host name {text:?}"))
            .hint("use letters, digits, `-`, `.` and `_`, at most 64")),
    }
}

/// A directory of the container to start in.
///
/// # Errors
/// If it is not absolute.
pub fn workdir(text: &str) -> Result<String> {
    match Path::new(text).is_absolute() {
        true => Ok(text.to_owned()),
        false => Err(Error::new(format!("bad working directory {text:?}"))
            .hint("it must be an absolute path of the container")),
    }
}
