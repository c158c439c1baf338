//! What `/health` says when nothing can be written. Each test is in a mount namespace of its own.

use crate::common::{Outcome, Server, Skip, is_root, rootfs};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use serde_json::json;
use std::fs;

crate::tests![a_full_disk_is_said, a_home_that_is_read_only_is_said];

/// Runs a test in a thread whose mounts nobody else sees; the server that it starts does.
fn with_mounts_of_its_own(test: fn()) -> Outcome {
    if !is_root() {
        let reason = "needs root, to mount: run the tests with sudo as well";
        return Err(Skip(reason.into()));
    }
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        test();
    });
    match thread.join() {
        Ok(()) => Ok(()),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

#[track_caller]
fn is_well(server: &Server, well: bool) {
    let store_up = format!(
        "minirun_api_store_up{{storage=\"json\"}} {}",
        u8::from(well)
    );
    let metrics = server.get("/metrics").text;
    assert!(metrics.contains(&store_up), "{metrics}");
    let health = server.get("/health");
    match well {
        true => assert_eq!(health.data()["status"], "ok"),
        false => assert!(health.error(503).contains("cannot write"), "{health:?}"),
    }
}

fn a_full_disk_is_said() -> Outcome {
    with_mounts_of_its_own(|| {
        let mut server = Server::start();
        server.end();
        let home = server.home();
        let (tmpfs, small) = (Some("tmpfs"), Some("size=4m,nr_inodes=100,mode=711"));
        mount(tmpfs, &home, tmpfs, MsFlags::empty(), small).unwrap();
        server.begin();
        server.create("web", "true");
        is_well(&server, true);

        let filler = home.join("filler");
        let containers = home.join("containers");
        fs::write(&filler, vec![0; 8 << 20]).unwrap_err();
        let before = fs::metadata(&containers).unwrap().modified().unwrap();
        is_well(&server, false);
        let after = fs::metadata(&containers).unwrap().modified().unwrap();
        assert_eq!(before, after, "it writes nothing to find out");
        let new = json!({"name": "new", "rootfs": rootfs()});
        server.post("/containers", &new).error(500);
        assert_eq!(server.get("/containers/web").data()["status"], "created");
        fs::remove_file(&filler).unwrap();
        is_well(&server, true);

        // A filesystem can also have too many files.
        fs::create_dir(&filler).unwrap();
        let full = (0..200).find(|number| fs::write(filler.join(number.to_string()), "").is_err());
        assert!(full.is_some());
        is_well(&server, false);
        fs::remove_dir_all(&filler).unwrap();
        is_well(&server, true);
        server.delete("/containers/web").data();
        server.end();
        umount2(&home, MntFlags::empty()).unwrap();
    })
}

fn a_home_that_is_read_only_is_said() -> Outcome {
    with_mounts_of_its_own(|| {
        let mut server = Server::start();
        server.create("web", "true");
        let home = server.home();
        let nothing = None::<&str>;
        let bind = MsFlags::MS_BIND;
        mount(Some(&home), &home, nothing, bind, nothing).unwrap();
        let again = bind | MsFlags::MS_REMOUNT;
        mount(nothing, &home, nothing, again | MsFlags::MS_RDONLY, nothing).unwrap();
        is_well(&server, false);
        assert_eq!(server.get("/containers/web").data()["status"], "created");
        mount(nothing, &home, nothing, again, nothing).unwrap();
        is_well(&server, true);
        server.end();
        umount2(&home, MntFlags::empty()).unwrap();
    })
}
