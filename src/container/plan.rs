//! From the record of a container to the plan of its launch ([`crate::launch`]). Lesson: 5, the runtime.

use super::{Start, shell};
use crate::cgroup::Cgroup;
use crate::explain::Trace;
use crate::idmap::IdMaps;
use crate::launch::{self, Failure, Launched, Plan, Spec, Streams};
use crate::namespace::Namespaces;
use crate::record::{Network, Record};
use crate::volume::Volume;
use crate::{Error, Result, rootfs, user};
use std::path::Path;

/// What a container's PATH is if nobody says otherwise: Docker's.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The user namespace of a container that runs.
pub(super) struct Ids {
    /// `None` for root's.
    pub maps: Option<IdMaps>,
    /// Why it is not the one that it should be.
    pub refused: Option<Error>,
}

/// Launches it; a second time, with one id, if newuidmap or newgidmap refuses more.
pub(super) fn prepare_and_launch(
    record: &Record,
    cgroup: &Cgroup,
    start: Start,
    trace: &mut Trace,
) -> Result<(Launched, Ids)> {
    let strict = start.strict || record.config.strict;
    let maps = IdMaps::for_us();
    let streams = start.streams.try_clone()?;
    let plan = prepare(record, cgroup, streams, maps.as_ref(), trace)?;
    let refused = match (launch::launch(&plan, trace), &maps) {
        // It would run, if with fewer ids. Most programs need no more than one.
        (Err(Failure::Ids(error)), Some(maps)) if maps.need_helpers() && !strict => error,
        (launched, _) => {
            let refused = None;
            return Ok((launched?, Ids { maps, refused }));
        }
    };
    let maps = maps.map(|maps| maps.without_helpers(&refused));
    let plan = prepare(record, cgroup, start.streams, maps.as_ref(), trace)?;
    let launched = launch::launch(&plan, trace)?;
    let refused = Some(refused);
    Ok((launched, Ids { maps, refused }))
}

/// The plan of a container's launch. Makes the mount points of its volumes, unless it is a rehearsal.
pub(super) fn prepare(
    record: &Record,
    cgroup: &Cgroup,
    streams: Streams,
    ids: Option<&IdMaps>,
    trace: &mut Trace,
) -> Result<Plan> {
    let config = &record.config;
    let root = record.rootfs.as_path();
    rootfs::check(root)?;
    let volumes = config
        .volumes
        .iter()
        .map(|text| Volume::parse(text, Path::new("/")))
        .collect::<Result<Vec<_>>>()?;
    for (number, volume) in volumes.iter().enumerate() {
        if volume.is_on_another_mount(&volumes[..number]) {
            volume.source_metadata()?; // the launch makes its mount point, there
        } else {
            volume.prepare(root, trace)?;
        }
    }
    let account = user::look_up(config.user.as_deref(), root)?;
    if let Some(ids) = ids {
        ids.check(&account)?;
    }
    let hostname = config.hostname.as_deref().unwrap_or(&record.name);
    let args = match &config.args {
        Some(args) => args.clone(),
        None => vec![shell(root).into(), "-c".into(), record.command.clone()],
    };
    let has_terminal = matches!(streams, Streams::Terminal(_));
    launch::plan(Spec {
        root,
        args: &args,
        env: environment(config, hostname, &account.home, has_terminal),
        hostname,
        workdir: Path::new(config.workdir.as_deref().unwrap_or("/")),
        account: &account,
        volumes: &volumes,
        read_only: config.read_only,
        namespaces: Namespaces {
            network: config.network == Network::None,
            user: ids.is_some(),
        },
        streams,
        ids,
        cgroup_view: cgroup.view(),
        join: cgroup.join(trace)?,
        init: config.init,
    })
}

/// What the program finds in its environment: Docker's variables, then those that were asked for.
pub(crate) fn environment(
    config: &crate::record::Config,
    hostname: &str,
    home: &str,
    terminal: bool,
) -> Vec<String> {
    let mut env = vec![
        PATH.to_owned(),
        format!("HOSTNAME={hostname}"),
        format!("HOME={home}"),
        "container=minirun".to_owned(),
    ];
    if terminal {
        let term = std::env::var("TERM").unwrap_or_else(|_| "xterm".into());
        env.push(format!("TERM={term}"));
    }
    for entry in &config.env {
        let name = entry.split('=').next().unwrap_or(entry);
        env.retain(|other| other.split('=').next() != Some(name));
        env.push(entry.clone());
    }
    env
}
