//! What a client may write of a container: the options of `minirun create` and `update`, by the same names.

use crate::envelope::Failure;
use crate::extract::bad_name;
use minirun::name::Name;
use minirun::options::{LimitOptions, Options};
use minirun::record::{Network, Restart};
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};

/// A size: bytes, or a number with a unit, or `max`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub struct Size(String);

/// A number, or `max`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub struct Count(String);

/// Cores: a number, or per cent of one core, or `max`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub struct Cores(String);

/// What the command line takes as text may be a number as well.
fn as_typed(value: Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err("write a number or a text"),
    }
}

macro_rules! typed {
    ($($name:ident: $schema:expr),+) => {
        $(
            impl TryFrom<Value> for $name {
                type Error = &'static str;

                fn try_from(value: Value) -> Result<Self, Self::Error> {
                    as_typed(value).map(Self)
                }
            }

            impl utoipa::PartialSchema for $name {
                fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                    let (pattern, number, least, example) = $schema;
                    text_or_number(pattern, number, least, example)
                }
            }

            impl ToSchema for $name {}
        )+
    };
}

typed! {
    Size: (r"^(max|[1-9][0-9]{0,9}[kKmMgG]?)$", Type::Integer, 1.0, "64M"),
    Count: (r"^(max|[1-9][0-9]{0,6})$", Type::Integer, 1.0, "max"),
    Cores: (r"^(max|[1-9][0-9]{0,2}%)$", Type::Number, 0.01, "50%")
}

fn text_or_number(
    pattern: &str,
    number: Type,
    least: f64,
    example: &str,
) -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern))
        .examples([example]);
    let number = ObjectBuilder::new()
        .schema_type(number)
        .minimum(Some(least));
    OneOfBuilder::new().item(text).item(number).into()
}

/// Other limits. What is absent stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLimits {
    /// Memory, at which the kernel kills.
    memory: Option<Size>,
    /// Memory and swap together.
    memory_swap: Option<Size>,
    /// Cores.
    cpus: Option<Cores>,
    /// Processes and threads.
    pids: Option<Count>,
}

impl NewLimits {
    pub fn options(self) -> LimitOptions {
        LimitOptions {
            memory: self.memory.map(|typed| typed.0),
            memory_swap: self.memory_swap.map(|typed| typed.0),
            cpus: self.cpus.map(|typed| typed.0),
            pids: self.pids.map(|typed| typed.0),
        }
    }
}

/// A container to be made: the options of `minirun create`, by the same names.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewContainer {
    /// Letters, digits, `_`, `.` and `-`, starting with a letter or digit.
    #[schema(
        pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        min_length = 1,
        max_length = 63
    )]
    name: String,
    /// A directory of the host, absolute [default: one built from the host's own programs].
    rootfs: Option<String>,
    /// A command for the container's shell [default: the shell itself].
    command: Option<String>,
    /// Instead of `command`: a program and its arguments, run without a shell.
    #[schema(max_items = 4096)]
    args: Option<Vec<String>>,
    /// Memory, at which the kernel kills [default: 512M].
    memory: Option<Size>,
    /// Memory and swap together [default: as memory, so no swap].
    memory_swap: Option<Size>,
    /// Cores [default: 0.5].
    cpus: Option<Cores>,
    /// Processes and threads [default: max].
    pids: Option<Count>,
    /// The host name inside [default: the name].
    #[schema(pattern = "^[A-Za-z0-9._-]+$", max_length = 64)]
    hostname: Option<String>,
    /// `NAME=VALUE` each.
    #[serde(default)]
    #[schema(max_items = 1024)]
    env: Vec<String>,
    /// The directory to start in, absolute; made if it is missing.
    #[schema(pattern = "^/")]
    workdir: Option<String>,
    /// Who to be inside, `USER[:GROUP]`, by name or number [default: root].
    user: Option<String>,
    /// `SRC:DST[:ro]` each, SRC a path of the host.
    #[serde(default)]
    #[schema(max_items = 256)]
    volume: Vec<String>,
    /// Let nothing be written to the root filesystem.
    #[serde(default)]
    read_only: bool,
    /// `host`, or `none`: nothing but a loopback interface [default: host].
    #[schema(value_type = Option<NetworkName>)]
    network: Option<Network>,
    /// Fail if a limit or the user ids cannot be set.
    #[serde(default)]
    strict: bool,
    /// Keep its input open, for `minirun attach`.
    #[serde(default)]
    interactive: bool,
    /// Give it a terminal.
    #[serde(default)]
    tty: bool,
    /// Have an init as process 1.
    #[serde(default)]
    init: bool,
    /// `no`, `always`, `on-failure`, `on-failure:N` [default: no].
    #[schema(pattern = "^(no|always|on-failure(:[0-9]{1,9})?)$")]
    restart: Option<String>,
    /// The size at which a new file of its log is begun [default: 10M].
    log_max_size: Option<Size>,
    /// How many files of its log there are at most [default: 2].
    #[schema(minimum = 1, maximum = 100)]
    log_max_files: Option<u32>,
}

/// The container's network.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code)]
enum NetworkName {
    Host,
    None,
}

impl NewContainer {
    /// What the command line does not have to ask: its arguments hold no NUL, and its user may pass variables of
    /// his own on. The server's are none of the client's business.
    fn check(&self) -> Result<(), Failure> {
        let texts = [
            ("rootfs", &self.rootfs),
            ("command", &self.command),
            ("workdir", &self.workdir),
            ("user", &self.user),
        ];
        let texts = texts
            .iter()
            .filter_map(|(field, text)| Some((*field, text.as_ref()?)));
        let args = self.args.iter().flatten().map(|text| ("args", text));
        let env = self.env.iter().map(|text| ("env", text));
        let volumes = self.volume.iter().map(|text| ("volume", text));
        for (field, text) in texts.chain(args).chain(env).chain(volumes) {
            if text.contains('\0') {
                return Err(Failure::invalid(field, format!("{field} holds a NUL")));
            }
        }
        if let Some(text) = self.env.iter().find(|text| !text.contains('=')) {
            let bad = format!("bad variable {text:?}: it has no value");
            return Err(Failure::invalid("env", bad).hint("write NAME=VALUE"));
        }
        if let Some(text) = self.volume.iter().find(|text| !text.starts_with('/')) {
            let bad =
                format!("bad volume {text:?}: it must begin with an absolute path of the host");
            return Err(Failure::invalid("volume", bad));
        }
        let relative = |path: &&String| !Path::new(path).is_absolute();
        if let Some(path) = self.rootfs.as_ref().filter(relative) {
            let bad = format!("bad rootfs {path:?}: it must be an absolute path of the host");
            return Err(Failure::invalid("rootfs", bad));
        }
        let counts = [
            ("args", self.args.as_ref().map_or(0, Vec::len), 4096),
            ("env", self.env.len(), 1024),
            ("volume", self.volume.len(), 256),
        ];
        if let Some((field, count, most)) = counts.iter().find(|(_, count, most)| count > most) {
            let bad = format!("{field} has {count} items; {most} are allowed");
            return Err(Failure::invalid(field, bad));
        }
        if self.command.is_some() && self.args.is_some() {
            let bad = "command and args contradict each other";
            return Err(Failure::invalid("args", bad).hint("args are run without a shell"));
        }
        let program = self.args.as_ref().map(|args| args.first());
        if program.is_some_and(|program| program.is_none_or(String::is_empty)) {
            return Err(Failure::invalid("args", "args names no program"));
        }
        if !(1..=100).contains(&self.log_max_files.unwrap_or(1)) {
            return Err(Failure::invalid(
                "log_max_files",
                "log_max_files must be 1 to 100",
            ));
        }
        Ok(())
    }

    pub fn options(self) -> Result<(Name, Options), Failure> {
        self.check()?;
        let name: Name = self.name.parse().map_err(bad_name)?;
        let limits = NewLimits {
            memory: self.memory,
            memory_swap: self.memory_swap,
            cpus: self.cpus,
            pids: self.pids,
        };
        let options = Options {
            rootfs: self.rootfs.map(Into::into),
            command: self.command,
            limits: limits.options(),
            hostname: self.hostname,
            env: self.env,
            workdir: self.workdir,
            user: self.user,
            volume: self.volume,
            read_only: self.read_only,
            network: self.network.unwrap_or_default(),
            strict: self.strict,
            interactive: self.interactive,
            tty: self.tty,
            init: self.init,
            restart: self.restart.unwrap_or_else(|| Restart::No.to_string()),
            log_max_size: self.log_max_size.map_or("10M".into(), |typed| typed.0),
            log_max_files: self.log_max_files.unwrap_or(2),
            args: self.args.unwrap_or_default(),
        };
        Ok((name, options))
    }
}
