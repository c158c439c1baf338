//! `monitor`. Its numbers are compared with the kernel's own, and its formats with each other and with the programs
//! that read them.

use crate::common::home::{
    Background, Home, Random, cgroups_with, eventually, root_home, rootfs, run,
};
use crate::common::{Outcome, judge, need_root, run_dir};
use crate::terminal::Screen;
use crate::tests;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

tests![
    the_host_is_as_the_kernel_says,
    a_container_is_as_its_cgroup_says,
    a_busy_container_is_at_its_limit,
    every_format_says_the_same,
    promtool_reads_it_and_finds_nothing_to_complain_of,
    continuously_it_keeps_to_its_interval_until_a_signal,
    on_a_terminal_it_draws_curves_until_q,
    history_is_kept_and_begins_the_curves,
    a_full_disk_is_said_and_does_not_end_it,
    a_broken_record_is_counted,
    without_containers_and_without_a_store_there_is_still_a_host,
    what_makes_no_sense_is_refused,
];

/// One reading.
fn json(home: &Home) -> Value {
    let text = home.succeeds(&["monitor", "--interval", "0.2", "--format", "json"]);
    serde_json::from_str(&text).unwrap()
}

fn container<'a>(sample: &'a Value, name: &str) -> &'a Value {
    let containers = sample["containers"].as_array().unwrap();
    let mut named = containers.iter().filter(|one| one["name"] == name);
    named.next().unwrap()
}

/// A container in the background under a name that no other cgroup has.
fn started(home: &Home, limits: &[&str], script: &str) -> String {
    let name = format!("monitor{:012x}", Random::new().below(1 << 48));
    let root = rootfs().to_str().unwrap();
    let run = ["run", "-d", &name, "--rootfs", root];
    home.succeeds(&[&run[..], limits, &["--", "sh", "-c", script]].concat());
    name
}

fn the_host_is_as_the_kernel_says() -> Outcome {
    let home = Home::new()?;
    let ran = |program: &str, args: &[&str]| -> String {
        let output = Command::new(program).args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let before = nix::sys::sysinfo::sysinfo().unwrap();
    let host = &json(&home)["host"];
    let after = nix::sys::sysinfo::sysinfo().unwrap();
    assert_eq!(host["memory_total"], before.ram_total());
    assert_eq!(host["swap_total"], before.swap_total());
    // sysinfo(2) counts no cached files as available.
    assert!(host["memory_available"].as_u64().unwrap() > after.ram_unused() / 2);
    let uptime = host["uptime_seconds"].as_f64().unwrap();
    let range = before.uptime().as_secs_f64() - 1.0..=after.uptime().as_secs_f64() + 1.0;
    assert!(range.contains(&uptime), "{uptime} is not in {range:?}");
    let name = nix::unistd::gethostname().unwrap();
    assert_eq!(host["name"], name.to_str().unwrap());
    let cores = ran("getconf", &["_NPROCESSORS_ONLN"]);
    assert_eq!(host["cores"].to_string(), cores.trim());
    let dir = home.path().parent().unwrap().to_owned();
    let df = ran(
        "df",
        &["--block-size=1", "--output=size", dir.to_str().unwrap()],
    );
    let size: u64 = df.lines().nth(1).unwrap().trim().parse().unwrap();
    assert_eq!(host["disk"]["total"], size);
    assert_eq!(host["disk"]["path"], home.path().to_str().unwrap());
    let load = host["load"][0].as_f64().unwrap();
    let averages = [before, after].map(|info| info.load_average().0);
    assert!(
        averages.iter().any(|average| (average - load).abs() < 0.02),
        "{load} is none of {averages:?}"
    );
    Ok(())
}

/// A file of the container's cgroup, in whichever tree has it.
fn file(name: &str, file: &str) -> Option<String> {
    let mut dirs = cgroups_with(name).into_iter();
    dirs.find_map(|dir| fs::read_to_string(dir.join(file)).ok())
}

fn number(name: &str, files: [&str; 2]) -> u64 {
    let text = files.iter().find_map(|one| file(name, one)).unwrap();
    text.trim().parse().unwrap()
}

fn need_limits(home: &Home, name: &str) -> Outcome {
    match home.record(name)["run"]["not_in_force"].as_array() {
        None => Ok(()),
        Some(limits) => crate::common::skip(format!("needs limits to be in force: {limits:?}")),
    }
}

fn a_container_is_as_its_cgroup_says() -> Outcome {
    let home = root_home()?;
    let limits = ["--memory", "96M", "--cpus", "0.25", "--pids", "33"];
    let name = started(&home, &limits, "sleep 631 & sleep 631 & sleep 631");
    need_limits(&home, &name)?;
    let processes = || file(&name, "cgroup.procs").unwrap().lines().count();
    eventually("all sleep", || (processes() == 4).then_some(()));
    let sample = json(&home);
    let one = container(&sample, &name);
    assert_eq!(one["status"], "running");
    assert_eq!(one["processes"], 4);
    assert_eq!(one["pids"], 4);
    assert_eq!(one["pids_limit"], 33);
    assert_eq!(one["cpu_limit"], 0.25);
    let limit = number(&name, ["memory.max", "memory.limit_in_bytes"]);
    assert_eq!(one["memory_limit"], limit);
    assert_eq!(limit, 96 << 20);
    let usage = number(&name, ["memory.current", "memory.usage_in_bytes"]);
    let memory = one["memory"].as_u64().unwrap();
    // The kernel counts in batches of each CPU: 64 pages.
    assert!(
        memory > 0 && memory <= usage + (1 << 19),
        "{memory} of {usage}"
    );
    assert_eq!(one["pid"].to_string(), home.process_1(&name).to_string());
    home.succeeds(&["pause", &name]);
    assert_eq!(container(&json(&home), &name)["status"], "paused");
    home.succeeds(&["stop", "--time", "0", &name]);
    let sample = json(&home);
    let one = container(&sample, &name);
    assert_eq!(
        (&one["status"], &one["exit_code"]),
        (&"stopped".into(), &137.into())
    );
    assert!(one["memory"].is_null() && one["pid"].is_null(), "{one}");
    Ok(())
}

fn a_busy_container_is_at_its_limit() -> Outcome {
    let home = root_home()?;
    let name = started(&home, &["--cpus", "0.1"], "while :; do :; done");
    need_limits(&home, &name)?;
    let stat = |key: &str| -> u64 {
        let text = file(&name, "cpu.stat").unwrap();
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines
            .find(|(name, _)| *name == key)
            .unwrap()
            .1
            .parse()
            .unwrap()
    };
    eventually("it is throttled", || {
        (stat("nr_throttled") > 3).then_some(())
    });
    let before = stat("nr_throttled");
    let text = home.succeeds(&["monitor", "--interval", "1", "--format", "json"]);
    let after = stat("nr_throttled");
    let sample: Value = serde_json::from_str(&text).unwrap();
    let one = container(&sample, &name);
    let throttled = one["throttled_periods"].as_u64().unwrap();
    assert!((before..=after).contains(&throttled), "{throttled}");
    // A tenth of each period, in at most eleven periods, and on v1 two ticks of 10 ms.
    let percent = one["cpu_percent"].as_f64().unwrap();
    assert!(percent > 0.0 && percent < 15.0, "{percent} %");
    // And who is busy is the host as well.
    assert!(sample["host"]["cpu_percent"].as_f64().unwrap() > 0.0);
    Ok(())
}

/// The samples of an exposition, by name and labels.
fn exposition(text: &str) -> HashMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name, value.parse().unwrap())
    });
    samples.collect()
}

fn every_format_says_the_same() -> Outcome {
    let home = Home::new()?;
    home.detached("asleep", &[], "sleep 632");
    home.create("idle", &[]);
    home.create("done", &["--command", "exit 3"]);
    assert_eq!(run(&mut home.minirun(&["start", "done"])).status, 3);
    let json = json(&home);
    let csv = home.succeeds(&["monitor", "--interval", "0.2", "--format", "csv"]);
    let prometheus = home.succeeds(&["monitor", "--format", "prometheus"]);
    let table = home.succeeds(&["monitor", "--interval", "0.2"]);

    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let rows: Vec<_> = lines.collect();
    assert!(rows.iter().all(|row| row.len() == header.len()), "{csv}");
    let column = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let kinds = rows.iter().map(|row| row[column("kind")]);
    let kinds: Vec<_> = kinds.collect();
    assert_eq!(kinds, ["host", "container", "container", "container"]);
    let samples = exposition(&prometheus);

    for name in ["asleep", "done", "idle"] {
        let one = container(&json, name);
        let row = rows.iter().find(|row| row[column("name")] == name).unwrap();
        for (field, in_csv, metric) in [
            ("exit_code", "exit_code", "container_exit_code"),
            ("processes", "processes", "container_processes"),
            ("pids", "pids", "container_pids"),
            ("restarts", "restarts", "container_restarts_total"),
            ("oom_kills", "oom_kills", "container_oom_kills_total"),
        ] {
            let metric = format!("minirun_{metric}{{name=\"{name}\"}}");
            let number = samples.get(metric.as_str()).copied();
            assert_eq!(number, one[field].as_f64(), "{metric}");
            let text = row[column(in_csv)];
            assert_eq!(text.parse::<f64>().ok(), one[field].as_f64(), "{field}");
        }
        let status = one["status"].as_str().unwrap();
        assert_eq!(row[column("status")], status);
        let metric = format!("minirun_container_status{{name=\"{name}\",status=\"{status}\"}}");
        assert_eq!(samples[metric.as_str()], 1.0);
        let line = table.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line.contains(status), "{table}");
    }
    assert_eq!(samples["minirun_containers{status=\"running\"}"], 1.0);
    assert_eq!(samples["minirun_containers{status=\"failed\"}"], 0.0);
    let total = json["host"]["memory_total"].as_f64().unwrap();
    assert_eq!(samples["minirun_host_memory_bytes"], total);
    assert_eq!(rows[0][column("memory_limit")].parse(), Ok(total));
    assert!(
        table.contains("stopped (3)") && table.contains("HOST"),
        "{table}"
    );
    Ok(())
}

fn checked(promtool: &Path, text: &str) {
    let mut check = Command::new(promtool);
    check.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut check = check
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = check.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let output = check.wait_with_output().unwrap();
    // 3: it can be read, but is not as it should be.
    assert!(output.status.success(), "{output:?}\n{text}");
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:?}"
    );
}

fn promtool_reads_it_and_finds_nothing_to_complain_of() -> Outcome {
    let promtool = judge("promtool")?;
    let home = Home::new()?;
    checked(
        &promtool,
        &home.succeeds(&["monitor", "--format", "prometheus"]),
    );
    let root = rootfs().to_str().unwrap();
    let limits = ["--memory", "64M", "--cpus", "0.5", "--pids", "9"];
    for name in ["a.b-c_d", "other"] {
        let run = ["run", "-d", name, "--rootfs", root];
        home.succeeds(&[&run[..], &limits, &["--", "sleep", "633"]].concat());
    }
    home.create("done", &["--command", "exit 3"]);
    assert_eq!(run(&mut home.minirun(&["start", "done"])).status, 3);
    let text = home.succeeds(&["monitor", "--format", "prometheus"]);
    assert!(exposition(&text).len() > 40, "{text}");
    checked(&promtool, &text);
    // What is kept for the collector is replaced, and whole at each moment.
    let dir = home.beside("collector");
    let mut monitor = home.minirun(&["monitor", "-c", "--interval", "0.1"]);
    monitor.args(["--format", "prometheus", "--save"]).arg(&dir);
    let mut monitor = Background::spawn(&mut monitor);
    let file = dir.join("minirun.prom");
    let read = || fs::read_to_string(&file).ok();
    let first = eventually("it is there", read);
    let last = eventually("it is replaced", || read().filter(|text| *text != first));
    checked(&promtool, &first);
    checked(&promtool, &last);
    monitor.signal(Signal::SIGTERM);
    assert_eq!(monitor.wait().code(), Some(0));
    let names = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["minirun.prom"]);
    Ok(())
}

fn continuously_it_keeps_to_its_interval_until_a_signal() -> Outcome {
    let home = Home::new()?;
    home.detached("asleep", &[], "sleep 634");
    let mut monitor = home.minirun(&["monitor", "-c", "--interval", "0.4", "--format", "json"]);
    let mut monitor = Background::of(monitor.stdout(Stdio::piped()).spawn().unwrap());
    let output = monitor.child().stdout.take().unwrap();
    let mut lines = BufReader::new(output).lines();
    let mut times = Vec::new();
    for number in 0..5 {
        let sample: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        times.push(Instant::now());
        assert!(
            container(&sample, "asleep")["cpu_percent"].is_number(),
            "{sample}"
        );
        assert!(number == 0 || sample["host"]["cpu_percent"].is_number());
    }
    let four = (times[4] - times[0]).as_secs_f64();
    // Late on a busy machine, but not later and later.
    assert!(
        (1.5..2.9).contains(&four),
        "four intervals of 0.4 s took {four} s"
    );
    monitor.signal(Signal::SIGINT);
    assert_eq!(monitor.wait().code(), Some(0));
    Ok(())
}

fn on_a_terminal_it_draws_curves_until_q() -> Outcome {
    let home = Home::new()?;
    home.detached("asleep", &[], "sleep 635");
    let monitor = home.minirun(&["monitor", "-c", "--interval", "0.2"]);
    let mut screen = Screen::of(&home, &monitor);
    screen.expect("\u{1b}[?25l");
    screen.expect("load ");
    screen.expect("asleep");
    // Again, in place, with curves: there are two readings.
    screen.expect("\r\u{1b}[J");
    screen.expect("▁");
    screen.expect("asleep");
    // In a window that has become smaller it begins anew, and no line is wrapped.
    screen.resize(40, 8);
    screen.expect("\u{1b}[H\u{1b}[2J");
    let frame = screen.expect("\u{1b}[7A\r\u{1b}[J");
    let widths = frame.lines().map(|line| line.trim_end().chars().count());
    let widths: Vec<_> = widths.collect();
    assert!(
        widths.len() == 7 && widths.iter().all(|width| *width <= 40),
        "{frame}"
    );
    screen.type_in("q");
    screen.expect("\u{1b}[?25h");
    assert!(screen.end().success());
    Ok(())
}

fn history_is_kept_and_begins_the_curves() -> Outcome {
    let home = Home::new()?;
    home.detached("asleep", &[], "sleep 636");
    let dir = home.beside("history/of/it");
    let dir = dir.to_str().unwrap();
    let monitor = |format: &str| {
        let args = [
            "monitor",
            "--interval",
            "0.1",
            "--save",
            dir,
            "--format",
            format,
        ];
        home.succeeds(&args)
    };
    let first = monitor("human");
    assert!(
        !first.contains("MEMORY"),
        "one reading has no curve: {first}"
    );
    let shown = monitor("json");
    monitor("csv");
    monitor("csv");
    let day = &serde_json::from_str::<Value>(&shown).unwrap()["time"];
    let day = &day.as_str().unwrap()[..10];
    let kept = |extension: &str| {
        let file = Path::new(dir).join(format!("minirun-{day}.{extension}"));
        fs::read_to_string(file).unwrap()
    };
    let json = kept("jsonl");
    assert_eq!(json.lines().count(), 2);
    assert_eq!(json.lines().nth(1), Some(shown.trim_end()));
    let csv = kept("csv");
    let headers = csv.lines().filter(|line| line.starts_with("time,"));
    assert_eq!((headers.count(), csv.lines().count()), (1, 5), "{csv}");
    let third = monitor("human");
    let line = third
        .lines()
        .find(|line| line.starts_with("asleep"))
        .unwrap();
    assert!(line.ends_with("▁▁▁"), "{third}");
    Ok(())
}

fn a_full_disk_is_said_and_does_not_end_it() -> Outcome {
    need_root()?;
    let home = Home::new()?;
    // Seven readings of about 900 bytes fit into a filesystem of two pages, but not an eighth.
    let script = r#"
        mkdir "$dir/full" && mount -t tmpfs -o size=8k tmpfs "$dir/full" || exit 99
        timeout -s INT 3 $minirun monitor -c --interval 0.1 --format json --save "$dir/full" >"$dir/shown"
        echo "ended $?"
        cat "$dir/full/"* >"$dir/kept"
        $minirun monitor --interval 0.1 --format json --save "$dir/full" >/dev/null
        echo "once $?"
        rm "$dir/full/"*; $minirun monitor --interval 0.1 --format json --save "$dir/full" >/dev/null
        echo "again $?"
    "#;
    let said = run(&mut home.in_private_mounts(script));
    assert_eq!(
        said.stdout, "ended 124\nonce 125\nagain 0\n",
        "{}",
        said.stderr
    );
    let complaints = said.stderr.matches("warning: not saved: cannot write");
    assert_eq!(complaints.count(), 1, "{}", said.stderr);
    assert!(said.stderr.contains("ENOSPC"), "{}", said.stderr);
    let shown = fs::read_to_string(home.beside("shown")).unwrap();
    let kept = fs::read_to_string(home.beside("kept")).unwrap();
    assert!(
        shown.lines().count() > kept.lines().count(),
        "{shown}\n{kept}"
    );
    Ok(())
}

fn a_broken_record_is_counted() -> Outcome {
    let home = Home::new()?;
    home.create("whole", &[]);
    fs::write(home.file("broken"), "{").unwrap();
    let said = run(&mut home.minirun(&["monitor", "--format", "prometheus"]));
    assert_eq!(said.status, 0);
    assert_eq!(exposition(&said.stdout)["minirun_broken_records"], 1.0);
    assert!(said.stderr.contains("warning: "), "{}", said.stderr);
    let quietly = home.succeeds(&["monitor", "-q", "--interval", "0.1", "--format", "json"]);
    assert_eq!(
        serde_json::from_str::<Value>(&quietly).unwrap()["broken"],
        1
    );
    Ok(())
}

fn without_containers_and_without_a_store_there_is_still_a_host() -> Outcome {
    let home = Home::of_nobody()?;
    let table = home.succeeds(&["monitor", "--interval", "0.1"]);
    assert!(table.ends_with("\nno containers\n"), "{table}");
    assert_eq!(json(&home)["containers"], Value::Array(vec![]));
    assert!(!home.path().join("containers").exists());
    Ok(())
}

fn what_makes_no_sense_is_refused() -> Outcome {
    let home = Home::new()?;
    for interval in ["0", "-1", "x", "nan", "86401"] {
        let said = run(&mut home.minirun(&["monitor", &format!("--interval={interval}")]));
        assert_eq!(said.status, 125, "{interval}");
        assert!(said.stderr.contains("from 0.1 to 86400"), "{}", said.stderr);
    }
    let said = run(&mut home.minirun(&["monitor", "--keep", "3"]));
    assert_eq!(said.status, 125);
    assert!(said.stderr.contains("--save"), "{}", said.stderr);
    let file = run_dir().join("a-file");
    fs::write(&file, "").unwrap();
    let said = run(&mut home.minirun(&["monitor", "--save", file.to_str().unwrap()]));
    assert_eq!(said.status, 125);
    assert!(
        said.stderr.contains("error: cannot create"),
        "{}",
        said.stderr
    );
    Ok(())
}
