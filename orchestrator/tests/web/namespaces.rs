//! The tree of namespaces.

use crate::browser::need_chromium;
use crate::common::{Outcome, Server, need_containers, rootfs};
use crate::page::{nothing_is_wrong, open};
use serde_json::json;
use std::fs;

crate::tests![the_tree_of_namespaces_is_the_kernels,];

fn the_tree_of_namespaces_is_the_kernels() -> Outcome {
    need_chromium()?;
    need_containers()?;
    let server = Server::start();
    for (name, network) in [("web", "host"), ("alone", "none")] {
        let body = json!({
            "name": name, "rootfs": rootfs(), "args": ["sleep", "1000"], "network": network, "memory": "max", "cpus": "max",
        });
        assert_eq!(server.post("/containers", &body).status, 201);
        server
            .post(&format!("/containers/{name}/start"), &json!({}))
            .data();
    }
    let all = server.get("/namespaces").data();
    let find = |kind: &str, name: &str| {
        let mut of_kind = all
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["kind"] == kind);
        of_kind
            .find(|one| one["containers"].as_array().unwrap().contains(&json!(name)))
            .cloned()
    };
    for name in ["web", "alone"] {
        let pid = server.info(name)["run"]["process"]["pid"].to_string();
        for kind in ["user", "pid", "mnt", "uts", "ipc", "net", "cgroup"] {
            let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
            let found = find(kind, name).unwrap();
            assert_eq!(
                link.to_str().unwrap(),
                format!("{kind}:[{}]", found["inode"])
            );
            let host = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
            assert_eq!(found["host"], json!(host == link), "{found}");
        }
        let pids = find("pid", name).unwrap();
        let around = fs::read_link("/proc/self/ns/pid").unwrap();
        assert_eq!(
            around.to_str().unwrap(),
            format!("pid:[{}]", pids["parent"]),
            "a pid namespace is in ours"
        );
    }
    let host = find("net", "web").unwrap();
    assert!(
        !host["containers"]
            .as_array()
            .unwrap()
            .contains(&json!("alone"))
    );
    let browser = open(&server, "#/namespaces");
    browser.until_text("main", "2 containers run");
    let net = find("net", "alone").unwrap()["inode"].to_string();
    browser.until_text(".tree", &format!("net:[{net}]"));
    let cell = |name: &str, kind: &str| {
        let script = format!(
            "const kinds = [...document.querySelectorAll('.matrix thead th')].map((th) => th.textContent);
             const row = [...document.querySelectorAll('.matrix tbody tr')].find((row) => row.cells[0].textContent === '{name}');
             return row.cells[kinds.indexOf('{kind}')].firstChild.textContent"
        );
        browser.run(&script)
    };
    assert_eq!(
        (cell("web", "net"), cell("alone", "net")),
        (json!("host"), json!("own"))
    );
    assert_eq!(
        (cell("web", "pid"), cell("web", "mnt")),
        (json!("own"), json!("own"))
    );
    browser.picture("namespaces-light");
    browser.prefer(&[("prefers-color-scheme", "dark")]);
    browser.resize(390, 844);
    browser.picture("namespaces-phone-dark");
    // It goes from there to the container, which says the same of itself.
    browser.click(".tree a[href='#/containers/alone']");
    browser.until_text(".shares", &format!("net:[{net}]"));
    nothing_is_wrong(&browser, &[]);
    Ok(())
}
