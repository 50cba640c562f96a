"""Images: archives of both kinds load and run as their configuration says; hostile ones harm nobody; what is absent says
so in AWS's words."""
import os, shutil
from host import Tasks, busybox_layer, docker_archive, equal, layer, oci_archive, sh, way_out


def scenario(host):
    with host.region("--speed", "10") as region:
        ec2, ecr = region.clients("ec2", "ecr")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
        group = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["SecurityGroups"][0]["GroupId"]
        way_out(ec2, vpc)
        tasks = Tasks(host, region, [subnet], [group], public=True)
        uri = "000000000000.dkr.ecr.us-east-1.amazonaws.com/"

        # Layers lie over each other; whiteouts remove; the configuration is honoured.
        lower = busybox_layer([("data/old", b"old"), ("data/kept", b"kept"), ("gone/a", b"a")])
        upper = layer([("data/.wh.old", b""), ("gone/.wh..wh..opq", b""), ("gone/b", b"b"), ("data/new", b"new")])
        path = os.path.join(host.folder, "app.tar")
        oci_archive(path, "team/app:2", [lower, upper], Env=["PATH=/bin", "COLOUR=blue"], WorkingDir="/data", User="guest",
                    Entrypoint=["sh", "-c"], Cmd=["ls; ls /gone; echo $COLOUR; id -u; exit 7"])
        said = region.cli("image", "load", path, "--name", "team/app:2")
        assert "team/app:2" in said and "sha256:" in said, said
        assert "team/app:2" in region.cli("image", "ls")
        task = tasks.ended(tasks.start(None, tasks.define(uri + "team/app:2")))
        equal("exit code", task["containers"][0]["exitCode"], 7)
        stream = "p/main/" + task["taskArn"].rsplit("/", 1)[1]
        lines = [e["message"] for e in tasks.logs.get_log_events(logGroupName="/probes", logStreamName=stream, startFromHead=True)["events"]]
        equal("output", lines, ["kept", "new", "b", "blue", "1000"])

        # Tools that others wrote push and pull without a change to the hosts file.
        if shutil.which("skopeo"):
            ecr.create_repository(repositoryName="pushed")
            plain, there = ["--insecure-policy"], "docker://127.0.0.1:4566/pushed:3"
            sh("skopeo", "copy", *plain, "--dest-tls-verify=false", "--dest-creds", "AWS:any", f"oci-archive:{path}", there)
            sh("skopeo", "copy", *plain, "--src-tls-verify=false", "--src-creds", "AWS:any", there, f"oci:{host.folder}/pulled:3")
            equal("a pushed image runs", tasks.ended(tasks.start(["exit 9"], tasks.define(uri + "pushed:3")))["containers"][0]["exitCode"], 9)
        else:
            print("note: skopeo is not on this machine; no push by a tool that others wrote")

        # A layer that reaches out of its folder is refused, and the task says why it did not start.
        canary = os.path.join(host.folder, "canary")
        for name, entries in {
            "dots": [("../../../../../../" + canary, b"x")],
            "absolute": [(canary, b"x")],
            "link": [("way", ("symlink", host.folder)), ("way/canary", b"x")],
            "hardlink": [("passwd", ("link", "../../../../../../etc/passwd"))],
        }.items():
            path = os.path.join(host.folder, f"{name}.tar")
            docker_archive(path, f"{name}:1", [busybox_layer(), layer(entries)])
            region.cli("image", "load", path)
            task = tasks.ended(tasks.start(["true"], tasks.define(f"{uri}{name}:1")))
            assert not os.path.exists(canary), f"{name}: a layer wrote outside its folder"
            print(f"hostile layer '{name}': {task['containers'][0].get('exitCode')} {task.get('stoppedReason')}")
        path = os.path.join(host.folder, "device.tar")
        docker_archive(path, "device:1", [busybox_layer([("dev/mem2", ("device", None)), ("mem", ("device", None))])])
        region.cli("image", "load", path)
        task = tasks.ended(tasks.start(["sh", "-c", "test ! -c /mem"], tasks.define(uri + "device:1")))
        assert task["containers"][0].get("exitCode") == 0 or task["stopCode"] == "TaskFailedToStart", task

        # What is not there.
        for image in (uri + "nothing:1", uri + "probe:9", "registry.example.com/x:1"):
            task = tasks.ended(tasks.start(["true"], tasks.define(image)))
            equal("stop code", task["stopCode"], "TaskFailedToStart")
            assert "CannotPullContainerError" in task["stoppedReason"], task["stoppedReason"]
        broken = os.path.join(host.folder, "broken.tar")
        open(broken, "wb").write(b"no archive at all" * 100)
        assert "cannot load" in region.cli("image", "load", broken, check=False)
        task = tasks.ended(tasks.start(["/no/such/program"]))
        equal("stop code", task["stopCode"], "TaskFailedToStart")
        for repository in ecr.describe_repositories()["repositories"]:
            ecr.delete_repository(repositoryName=repository["repositoryName"], force=True)
        equal("images", region.cli("image", "ls").strip(), "")
