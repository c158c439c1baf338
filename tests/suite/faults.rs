//! Containers in the background, and what goes wrong: everything is killed at any moment, the host is booted
//! anew, the disk is full. The next command finds the truth, cleans up, and has lost nothing.

use crate::common::Outcome;
use crate::common::home::{
    Background, Home, MONITOR, PATIENCE, Random, UNLIMITED, cgroups_with, children_of, comm,
    eventually, reap_orphans, root_home, rootfs, run, stat, state,
};
use crate::tests;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

tests![
    killed_at_any_moment_nothing_is_lost,
    a_reboot_is_noticed,
    a_record_without_a_boot_is_read_as_it_was,
    who_waits_no_more_to_start_it_again_does_not_say_so,
    a_full_disk_stops_the_log_and_not_the_container,
    a_full_disk_delays_the_record_of_the_end,
];

/// Enough that each step of each command is hit.
const KILLS: u32 = 400;

/// The program that the containers run, so that theirs are told from all other processes.
const PROGRAM: &str = "faultshell";

/// It counts, quickly at first, for ever.
const SCRIPT: &str = "i=0; while :; do i=$((i+1)); echo $i; [ $i -lt 300 ] || sleep 0.05; done";

/// Some containers in the background, and what is known of them.
struct Fleet {
    home: Home,
    volume: String,
    random: Random,
    /// The id of each, and what its log has held.
    logs: BTreeMap<String, Vec<u8>>,
    killed: BTreeMap<&'static str, u32>,
    /// Who was killed and may not be dead yet, which takes a while on a busy host.
    dying: Vec<Pid>,
}

/// Something that is done to a container while it is killed.
struct Act {
    verb: &'static str,
    /// The id of the container, unless it is new.
    id: Option<String>,
    command: Option<Background>,
}

fn killed_at_any_moment_nothing_is_lost() -> Outcome {
    let home = Home::new()?;
    let (dir, volume) = home.volume();
    symlink("/bin/sh", dir.join(PROGRAM)).unwrap();
    let mut fleet = Fleet {
        home,
        volume,
        random: Random::new(),
        logs: BTreeMap::new(),
        killed: BTreeMap::new(),
        dying: Vec::new(),
    };
    let mut rounds = 0;
    while fleet.killed.values().sum::<u32>() < KILLS {
        rounds += 1;
        assert!(rounds < 10 * KILLS, "there was too little to kill");
        let act = fleet.act();
        let moment = 1 << fleet.random.below(15);
        std::thread::sleep(Duration::from_micros(fleet.random.below(moment)));
        fleet.kill_something(act);
        reap_orphans(&[MONITOR, PROGRAM]);
        fleet.check();
    }
    println!("{:?} killed in {rounds} rounds", fleet.killed);
    let names = fleet.home.succeeds(&["list", "-q"]);
    let names: Vec<&str> = names.lines().collect();
    fleet
        .home
        .succeeds(&[&["delete", "-f"], &names[..]].concat());
    eventually("the last orphan ends", || {
        reap_orphans(&[MONITOR, PROGRAM]);
        fleet.home.processes().is_empty().then_some(())
    });
    Ok(())
}

impl Fleet {
    /// Begins to do something to one of the containers, or to make one.
    fn act(&mut self) -> Act {
        let number = self.random.below(5) as usize;
        let Some(id) = self.logs.keys().nth(number).cloned() else {
            let name = format!("f{:010x}", self.random.below(1 << 40));
            let policy = ["no", "no", "on-failure", "always"][self.random.below(4) as usize];
            let mut command = self.home.minirun(&["run", "-d", &name, "--rootfs"]);
            command.arg(rootfs()).args(UNLIMITED);
            command.args(["--restart", policy, &self.volume, "--env"]);
            command
                .arg(self.mark())
                .args(["--", &format!("/v/{PROGRAM}"), "-c", SCRIPT]);
            return Act {
                verb: "run",
                id: None,
                command: Some(Background::spawn(&mut command)),
            };
        };
        let record = self.record(&id).unwrap();
        let name = record["name"].as_str().unwrap();
        let running = record["status"] == "running";
        let verbs = match running {
            true => [
                "stop", "restart", "rename", "logs", "attach", "delete", "", "",
            ],
            false => [
                "start", "start", "start", "start", "restart", "rename", "logs", "delete",
            ],
        };
        let verb = verbs[self.random.below(8) as usize];
        let new = format!("f{:010x}", self.random.below(1 << 40));
        let args = match verb {
            "" => vec![],
            "start" => vec!["start", "-d", name],
            "stop" | "restart" => vec![verb, "--time", "0", name],
            "logs" => vec!["logs", "-f", name],
            "rename" => vec!["rename", name, &new],
            "delete" => vec!["delete", "-f", name],
            _ => vec![verb, name],
        };
        Act {
            verb,
            command: (!verb.is_empty()).then(|| self.home.background(&args)),
            id: Some(id),
        }
    }

    /// Takes the containers into the fleet that have been made since; returns the ids of all.
    fn adopt(&mut self) -> Vec<String> {
        let records = self.records();
        let ids = records.iter().map(|record| record["id"].as_str().unwrap());
        let ids: Vec<String> = ids.map(str::to_owned).collect();
        for id in &ids {
            self.logs.entry(id.clone()).or_default();
        }
        ids
    }

    /// The record of a container, whatever it is called by now.
    fn record(&self, id: &str) -> Option<Value> {
        self.records().into_iter().find(|record| record["id"] == id)
    }

    /// All records as they are in the files.
    fn records(&self) -> Vec<Value> {
        let files = fs::read_dir(self.home.path().join("containers"));
        let files = files
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let files = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
        files
            .filter_map(|path| fs::read_to_string(path).ok())
            .map(|text| serde_json::from_str(&text).expect("a record is always whole"))
            .collect()
    }

    fn mark(&self) -> String {
        format!("MARK={}", self.home.path().display())
    }

    /// `kill -9`, and counts it if there was somebody to kill.
    fn kill(&mut self, who: &'static str, pid: Pid) -> bool {
        let alive = state(pid).is_some_and(|state| !"ZX".contains(state));
        let killed = alive && kill(pid, Signal::SIGKILL).is_ok();
        *self.killed.entry(who).or_default() += u32::from(killed);
        self.dying.push(pid);
        killed
    }

    fn kill_something(&mut self, mut act: Act) {
        let mut monitors = self.home.processes();
        monitors.extend(
            act.command
                .iter()
                .flat_map(|command| children_of(command.pid())),
        );
        monitors.retain(|pid| comm(*pid) == MONITOR && !self.dying.contains(pid));
        let number = self.random.below(monitors.len().max(1) as u64) as usize;
        let monitor = monitors.get(number).copied();
        let process_1 = monitor.and_then(|pid| children_of(pid).first().copied());
        let command = act.command.as_ref().map(Background::pid);
        let confirmed: Vec<String> = self.logs.keys().cloned().collect();
        for id in confirmed {
            self.confirm_log(&id);
        }
        let mut known = None;
        match (self.random.below(10), command, monitor, process_1) {
            (0..4, Some(command), ..) => drop(self.kill("command", command)),
            (4, Some(command), Some(monitor), _) => {
                self.kill("command of both", command);
                self.kill("monitor of both", monitor);
            }
            (5, _, Some(monitor), Some(process_1)) => {
                self.kill("monitor of both", monitor);
                self.kill("process 1 of both", process_1);
            }
            (6..8, _, Some(monitor), _) => drop(self.kill("monitor", monitor)),
            (_, _, Some(_), Some(process_1)) => {
                let records = self.records();
                let pid = i64::from(process_1.as_raw());
                let its = records
                    .into_iter()
                    .find(|r| r["run"]["process"]["pid"] == pid);
                let killed = self.kill("process 1", process_1);
                known = its.filter(|record| {
                    let other = act.id.as_deref() != record["id"].as_str();
                    killed && (other || ["", "logs", "attach"].contains(&act.verb))
                });
            }
            _ => {}
        }
        if let Some(record) = known {
            self.its_exit_code_is_known(&record);
        }
        if let Some(command) = &mut act.command {
            if ["logs", "attach"].contains(&act.verb) {
                kill(command.pid(), Signal::SIGKILL).ok();
            }
            assert_ne!(command.wait().code(), Some(101), "{} panicked", act.verb);
        }
        let ids = self.adopt();
        let lost = self.logs.keys().find(|id| !ids.contains(id)).cloned();
        if let Some(lost) = lost {
            assert_eq!(
                (act.verb, act.id.as_ref()),
                ("delete", Some(&lost)),
                "a record is lost"
            );
            self.logs.remove(&lost);
        }
    }

    /// Its process 1 was killed, and its monitor lives.
    fn its_exit_code_is_known(&self, before: &Value) {
        let id = before["id"].as_str().unwrap();
        let deadline = Instant::now() + PATIENCE;
        let run = loop {
            let run = self.record(id).unwrap()["run"].clone();
            if run["process"] != before["run"]["process"] {
                break run;
            }
            let monitor = Pid::from_raw(run["monitor"]["pid"].as_i64().unwrap() as i32);
            let (state, children) = (state(monitor), children_of(monitor));
            let stack = fs::read_to_string(format!("/proc/{monitor}/stack")).unwrap_or_default();
            assert!(
                Instant::now() < deadline,
                "no exit code: {run}, monitor {state:?} with {children:?}: {stack}"
            );
            std::thread::sleep(Duration::from_millis(2));
        };
        let again = run["restarts"].as_u64() > before["run"]["restarts"].as_u64();
        assert!(again || run["exit_code"] == 137, "{run}");
    }

    /// The whole lines that a container's log holds now.
    fn log(&self, id: &str) -> Vec<u8> {
        let mut log =
            fs::read(self.home.path().join("logs").join(id).join("log")).unwrap_or_default();
        let end = log.iter().rposition(|byte| *byte == b'\n');
        log.truncate(end.map_or(0, |end| end + 1));
        log
    }

    /// What has been in a log stays there, and the numbers in it follow each other, but where a life begins.
    fn confirm_log(&mut self, id: &str) {
        let log = self.log(id);
        if self.record(id).is_none() {
            return; // it has just been deleted
        }
        let before = &self.logs[id];
        assert!(
            log.starts_with(before),
            "lines have gone from the log of {id}"
        );
        let lines = log
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        let mut last = 0;
        for line in lines {
            let text = String::from_utf8_lossy(line);
            let number: u64 = text.rsplit(' ').next().unwrap().parse().expect(&text);
            assert!(
                number == last + 1 || number == 1,
                "{text} after {last} in {id}"
            );
            last = number;
        }
        self.logs.insert(id.to_owned(), log);
    }

    /// One command, and all is in order, as soon as those who were not killed have done what they were at.
    fn check(&mut self) {
        let mut wrong = Vec::new();
        for attempt in 0..2000 {
            self.adopt(); // `run -d` was killed, and its monitor was not
            wrong = self.what_is_wrong();
            reap_orphans(&[MONITOR, PROGRAM]);
            if wrong.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(attempt.min(10)));
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        let ids: Vec<String> = self.logs.keys().cloned().collect();
        for id in ids {
            self.confirm_log(&id);
        }
    }

    fn what_is_wrong(&self) -> Vec<String> {
        let list = run(&mut self.home.minirun(&["list", "--format", "json"])).succeeded();
        let list: Vec<Value> = serde_json::from_str(&list.stdout).unwrap();
        let mut wrong = Vec::new();
        let mut ids: Vec<&str> = list
            .iter()
            .map(|record| record["id"].as_str().unwrap())
            .collect();
        ids.sort();
        if !ids.iter().eq(self.logs.keys()) {
            wrong.push(format!("the records are {ids:?}"));
        }
        let mut alive = Vec::new();
        let mut looked_after = Vec::new();
        for record in &list {
            let (id, run) = (record["id"].as_str().unwrap(), &record["run"]);
            let process = run["process"]["pid"]
                .as_i64()
                .map(|pid| Pid::from_raw(pid as i32));
            let running = record["status"] == "running";
            match process {
                Some(pid) if running => {
                    if run["process"]["start_time"] != stat(pid, 22) {
                        wrong.push(format!("{id} does not run"));
                    }
                    alive.push(pid);
                }
                None if !running => {}
                _ => wrong.push(format!("{} with {process:?}: {id}", record["status"])),
            }
            if running || run["restarting"] == true {
                looked_after.push(id);
            } else if !cgroups_with(id).is_empty() {
                wrong.push(format!("a cgroup of {id}"));
            }
        }
        for claim in self.home.claims() {
            if !looked_after.contains(&claim.as_str()) {
                wrong.push(format!("the claim of {claim}"));
            }
        }
        let logs = fs::read_dir(self.home.path().join("logs"));
        for log in logs.into_iter().flatten().flatten() {
            let id = log.file_name().into_string().unwrap();
            if !self.logs.contains_key(&id) {
                wrong.push(format!("the log of {id}"));
            }
        }
        let sockets = fs::read_dir(self.home.path().join("run"))
            .into_iter()
            .flatten()
            .flatten();
        for socket in sockets.map(|entry| entry.file_name().into_string().unwrap()) {
            if !looked_after.contains(&socket.as_str()) {
                wrong.push(format!("the socket of {socket}"));
            }
        }
        let mut processes = self.first_processes();
        processes.sort();
        alive.sort();
        if processes != alive {
            wrong.push(format!("{processes:?} are alive, and {alive:?} should be"));
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        if mounts.contains(self.home.beside("").to_str().unwrap()) {
            wrong.push("a mount on the host".into());
        }
        wrong
    }

    /// Process 1 of each container of ours.
    fn first_processes(&self) -> Vec<Pid> {
        let mark = self.mark();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_ours = |pid: &i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let mut variables = environment.split(|byte| *byte == 0);
            variables.any(|variable| variable == mark.as_bytes())
        };
        let is_first = |pid: &i32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let inner = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            inner.is_some_and(|pids| pids.ends_with("\t1"))
        };
        pids.filter(|pid| is_ours(pid) && is_first(pid))
            .map(Pid::from_raw)
            .collect()
    }
}

fn a_reboot_is_noticed() -> Outcome {
    let home = Home::new()?;
    let mut ended = Command::new("true").spawn().unwrap();
    let dead = i64::from(ended.id());
    ended.wait().unwrap();
    // By chance, somebody has both the pid and the start time.
    let mut other = Command::new("sleep");
    let mut other = other.arg("60").stdout(Stdio::null()).spawn().unwrap();
    let others = Pid::from_raw(other.id() as i32);
    let start_time = stat(others, 22);
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    for (name, pid, start_time, its_boot) in [
        ("dead", dead, 77, boot.trim()),
        ("others", others.as_raw().into(), 77, boot.trim()),
        ("chance", others.as_raw().into(), start_time, ANOTHER_BOOT),
    ] {
        home.detached(name, &["--restart", "always"], "echo a life; read a");
        assert_eq!(home.record(name)["run"]["boot_id"], boot.trim());
        home.succeeds(&["stop", "--time", "0", name]);
        let mut record = home.record(name);
        let process = json!({"pid": pid, "start_time": start_time});
        record["status"] = json!("running");
        record["run"]["process"] = process.clone();
        record["run"]["monitor"] = process;
        record["run"]["boot_id"] = json!(its_boot);
        let run = record["run"].as_object_mut().unwrap();
        run.remove("exit_code");
        run.remove("finished_at");
        run.remove("stop_requested");
        fs::write(home.file(name), record.to_string()).unwrap();
        let id = record["id"].as_str().unwrap();
        for left in ["claims", "run"] {
            fs::write(home.path().join(left).join(id), "").unwrap();
        }

        let list = home.succeeds(&["list"]);
        assert!(
            list.contains("stopped") && !list.contains("running"),
            "{list}"
        );
        let (shown, why) = match name {
            "chance" => ("stopped (reboot)", "the host was booted again"),
            _ => ("stopped  ", "whoever waited for it was killed"),
        };
        assert!(list.contains(shown), "{list}");
        let info = home.succeeds(&["info", name]);
        assert!(info.contains(&format!("unknown: {why}")), "{info}");
        assert_eq!(!info.contains("finished"), name == "chance", "{info}");
        let record = home.record(name);
        assert_eq!(record["status"], "stopped");
        assert!(record["run"]["process"].is_null() && record["run"]["exit_code"].is_null());
        assert_eq!(home.claims(), [""; 0]);
        let said = home.said(&["wait", name]);
        assert!(
            said.starts_with("error: nobody knows the exit status")
                && said.contains(why)
                && said.ends_with("[125]\n"),
            "{said}"
        );
        let said = home.said(&["attach", name]);
        assert!(said.contains("is not running"), "{said}");
        home.succeeds(&["start", "-d", name]);
        eventually("it runs again", || {
            let lines = home.succeeds(&["logs", name]).lines().count();
            (lines >= 2).then_some(())
        });
        assert_eq!(home.record(name)["run"]["boot_id"], boot.trim());
        home.succeeds(&["delete", "-f", name]);
        assert!(other.try_wait().unwrap().is_none(), "it was another's");
    }
    other.kill().unwrap();
    other.wait().unwrap();
    Ok(())
}

/// The boot before this one.
const ANOTHER_BOOT: &str = "5e0c2a1b-7d36-4b8e-9f01-23456789abcd";

/// An older minirun did not write the boot down: then pid and start time have to do.
fn a_record_without_a_boot_is_read_as_it_was() -> Outcome {
    let home = Home::new()?;
    home.detached("old", &[], "sleep 600");
    let mut record = home.record("old");
    record["run"].as_object_mut().unwrap().remove("boot_id");
    fs::write(home.file("old"), record.to_string()).unwrap();
    assert_eq!(home.record("old")["status"], "running");
    assert_eq!(home.succeeds(&["stop", "-t", "0", "old"]), "stopped old\n");
    home.succeeds(&["delete", "old"]);
    Ok(())
}

/// Killed, or booted again, while its monitor waited to start it again: nobody will.
fn who_waits_no_more_to_start_it_again_does_not_say_so() -> Outcome {
    let home = Home::new()?;
    home.detached("web", &["--restart", "on-failure"], "exit 3");
    let monitor = eventually("the monitor waits a while", || {
        let run = &home.record("web")["run"];
        let long = run["restarts"]
            .as_u64()
            .is_some_and(|restarts| restarts >= 3);
        let pid = run["monitor"]["pid"].as_i64()? as i32;
        (long && run["restarting"] == true).then_some(Pid::from_raw(pid))
    });
    kill(monitor, Signal::SIGKILL).unwrap();
    eventually("the monitor is dead", || {
        reap_orphans(&[MONITOR]);
        state(monitor).is_none().then_some(())
    });
    let list = home.succeeds(&["list"]);
    assert!(list.contains("stopped (3)"), "{list}");
    assert!(home.record("web")["run"]["restarting"].is_null());
    home.succeeds(&["delete", "web"]);
    Ok(())
}

/// What the scripts below share: `$home` is a small disk, `fill` fills it, `until_ CONDITION` waits.
const SMALL_DISK: &str = "
    mkdir $MINIRUN_HOME ${dir}v; mount -t tmpfs -o size=256k tmpfs $MINIRUN_HOME
    fill() { cat /dev/zero > $MINIRUN_HOME/ballast 2>/dev/null; }
    until_() { n=0; until eval \"$1\"; do sleep 0.02; n=$((n+1)); [ $n -lt 1000 ] || { echo never: $1; break; }; done; }
    run='run -d full --memory max --cpus max --rootfs'
";

fn a_full_disk_stops_the_log_and_not_the_container() -> Outcome {
    let home = root_home()?;
    crate::common::need_program("unshare")?;
    let script = format!(
        "{SMALL_DISK}
        $minirun $run $rootfs --volume ${{dir}}v:/v -- sh -c 'i=0; while [ ! -e /v/stop ]; do
            i=$((i+1)); echo $i; echo $i > /v/new; mv /v/new /v/count; sleep 0.002; done'
        until_ '[ $($minirun logs full | wc -l) -gt 50 ]'
        fill; at=$(cat ${{dir}}v/count)
        until_ '[ $(cat ${{dir}}v/count) -gt $((at + 300)) ]'
        $minirun logs full >${{dir}}v/kept 2>${{dir}}v/said
        $minirun list
        rm $MINIRUN_HOME/ballast
        until_ '$minirun logs full 2>&1 >/dev/null | grep -q \"lines are missing here\"'
        fill; at=$(cat ${{dir}}v/count)
        until_ '[ $(cat ${{dir}}v/count) -gt $((at + 300)) ]'
        # The disk is full again at the end: the number of lines that were lost is still said.
        rm $MINIRUN_HOME/ballast; touch ${{dir}}v/stop
        $minirun wait full
        $minirun logs full >${{dir}}v/all 2>${{dir}}v/notes
        $minirun delete -f full"
    );
    let said = home.shown(&mut home.in_private_mounts(&script));
    assert!(said.contains("running ("), "{said}");
    assert!(
        said.ends_with("0\ndeleted full\n[0]\n") && !said.contains("never"),
        "{said}"
    );
    let file = |name: &str| fs::read_to_string(home.beside("v").join(name)).unwrap();
    let numbers = |name: &str| -> Vec<u64> {
        file(name)
            .lines()
            .map(|line| line.parse().unwrap())
            .collect()
    };
    let kept = numbers("kept");
    assert!(kept.iter().copied().eq(1..=kept.len() as u64), "{kept:?}");
    assert_eq!(
        file("said"),
        "warning: lines are missing from this log: the disk was full\n"
    );
    // Each gap is followed by a note that says how large it is.
    let all = numbers("all");
    assert!(all.starts_with(&kept));
    let last: u64 = file("count").trim().parse().unwrap();
    let missing = last - all.len() as u64;
    let notes = file("notes");
    let noted = notes.lines().filter_map(|line| {
        let (number, why) = line
            .strip_prefix("minirun: ")?
            .split_once(" lines are missing here: ")?;
        assert!(why.contains("No space left"), "{line}");
        Some(number.parse::<u64>().unwrap())
    });
    let noted: Vec<u64> = noted.collect();
    assert_eq!(noted.iter().sum::<u64>(), missing, "{notes}");
    assert!(noted.len() >= 2 && noted[0] >= 100, "{notes}");
    assert!(all.is_sorted());
    Ok(())
}

fn a_full_disk_delays_the_record_of_the_end() -> Outcome {
    let home = root_home()?;
    crate::common::need_program("unshare")?;
    let script = format!(
        "{SMALL_DISK}
        $minirun $run $rootfs --volume ${{dir}}v:/v -- sh -c 'until [ -e /v/stop ]; do sleep 0.01; done; exit 9'
        pid=$($minirun info --format json full | sed -n 's/.*\"pid\": \\([0-9]*\\).*/\\1/p' | head -1)
        fill; touch ${{dir}}v/stop
        until_ '! kill -0 $pid 2>/dev/null'
        grep '\"status\"' $MINIRUN_HOME/containers/full.json
        rm $MINIRUN_HOME/ballast
        until_ 'grep -q stopped $MINIRUN_HOME/containers/full.json'
        $minirun wait full; $minirun list
        $minirun run -d other --memory max --cpus max --rootfs $rootfs -- sleep 600
        # Nor does it keep anybody from ending one.
        fill; $minirun stop --time 0 other
        rm $MINIRUN_HOME/ballast; $minirun wait other; $minirun delete -f full other"
    );
    let said = home.shown(&mut home.in_private_mounts(&script));
    insta::assert_snapshot!(said, @r#"
    full
      "status": "running",
    9
    NAME  STATUS       LIMITS  ROOT  COMMAND
    full  stopped (9)  none    ROOTFS  sh -c 'until [ -e /v/stop ]; do sleep 0.01; done; exit 9'
    other
    stopped other
    137
    deleted full
    deleted other
    [0]
    "#);
    assert_eq!(cgroups_with("full-"), [""; 0].map(PathBuf::from));
    Ok(())
}
