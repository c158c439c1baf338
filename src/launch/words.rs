//! What a step of a launch is called where people read it. Lesson: 5, the runtime.

use super::step::{Step, Volume};
use std::ffi::CStr;
use std::fmt;

/// Completes the sentence "cannot …".
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |path: &CStr| path.to_string_lossy().into_owned();
        match self {
            Step::DieWithParent => write!(f, "tie the container's life to minirun's"),
            Step::AwaitIdMaps => write!(f, "learn the user and group ids of the container"),
            Step::JoinCgroups(_) => write!(f, "join the container's cgroups"),
            Step::JoinNamespaces(_) => write!(f, "join the container's namespaces"),
            Step::NewCgroupNamespace => write!(f, "make a cgroup namespace"),
            Step::NewSession => write!(f, "make a session"),
            Step::NewKeyring => write!(f, "make a session keyring"),
            Step::Umask(_) => write!(f, "set the umask"),
            Step::PrivateMounts => write!(f, "make the mounts private"),
            Step::BindRoot(root) => write!(f, "bind the root filesystem {}", path(root)),
            Step::EnterRoot(root) => write!(f, "enter the root filesystem {}", path(root)),
            Step::Mount(mount) => write!(f, "mount /{}", path(&mount.target)),
            Step::MakeDir(dir) => write!(f, "make the directory /{}", path(dir)),
            Step::Device(device, ..) | Step::BindDevice(_, device) => {
                write!(f, "make the device /{}", path(device))
            }
            Step::Link(link, _) => write!(f, "make the link /{}", path(link)),
            Step::BindSys => write!(f, "bind the host's /sys"),
            Step::MountPoint(place) => {
                let whole = place.paths.last().map(|whole| path(whole));
                write!(f, "make the mount point /{}", whole.unwrap_or_default())
            }
            Step::Volume(Volume {
                source,
                destination,
                ..
            }) => {
                write!(f, "mount {} on /{}", path(source), path(destination))
            }
            Step::ReadOnlyMount(p) | Step::ReadOnlyPath(p) => {
                write!(f, "make /{} read-only", path(p))
            }
            Step::MaskedPath(p) => write!(f, "mask /{}", path(p)),
            Step::Terminal(_) => write!(f, "make a terminal"),
            Step::GiveStreams(_) => write!(f, "give the standard streams to the user"),
            Step::Streams(_) => write!(f, "connect the standard streams"),
            Step::PivotRoot => write!(f, "make the root filesystem /"),
            Step::DetachOldRoot => write!(f, "unmount the host's root"),
            Step::ReadOnlyRoot => write!(f, "make the root filesystem read-only"),
            Step::HostName(name) => write!(f, "set the host name {name}"),
            Step::LoopbackUp => write!(f, "set the loopback interface up"),
            Step::WorkDir(workdir) => write!(f, "enter the directory {}", path(&workdir.path)),
            Step::User(user) => write!(f, "become user {} and group {}", user.uid, user.gid),
            Step::NoNewPrivileges => write!(f, "give up new privileges"),
            Step::Init(_) => write!(f, "make an init"),
            Step::DefaultSignals => write!(f, "reset the signals"),
            Step::CloseFiles => write!(f, "close the open files"),
            Step::Exec(exec) => write!(f, "run {:?}", exec.command),
        }
    }
}
