"""Every process of the region is killed while clients send requests: not one request fails, tasks keep their pids, and
afterwards all is adopted and works."""
import os, signal
from host import Load, connect, equal, wait


def killed(region, name):
    pid = region.pid(name)
    os.kill(pid, signal.SIGKILL)
    wait(f"{name} is started again", lambda: os.path.exists(f"/run/fogbank/{region.instance}/{name}.pid") and region.pid(name) != pid)


def works(region, shop):
    """The control plane answers, and what it decides acts on packets."""
    def revoke_and_authorise():
        web = [{"IpProtocol": "tcp", "FromPort": 81, "ToPort": 81, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
        try:
            shop.ec2.authorize_security_group_ingress(GroupId=shop.sg_alb, IpPermissions=web)
        except Exception:
            return False
        opened = connect(shop.addresses[0], 81, 0.3) == "refused"  # the packet arrives; nobody listens
        shop.ec2.revoke_security_group_ingress(GroupId=shop.sg_alb, IpPermissions=web)
        return opened and connect(shop.addresses[0], 81, 0.3) == "timeout"
    wait("a rule change acts on packets", revoke_and_authorise, 20)


def scenario(host):
    data = os.path.join(host.folder, "data")
    with host.region("--speed", "10", data=data) as region:
        shop = host.shop(region)
        pids = host.pids("orders-api")
        equal("tasks", len(pids), 2)
        with Load(shop.addresses) as load:
            load.more()
            for name in ("dns", "control", "node"):
                killed(region, name)
                load.more()
                works(region, shop)
                print(f"killed {name}: {load.answers} answers so far, none failed")
            wait("names are answered again", lambda: region.resolve("api.shop.test")[1])

            region.process.send_signal(signal.SIGKILL)
            region.process.wait()
            load.more()
            region.start()
            load.more()
            works(region, shop)
            print(f"killed up: {load.answers} answers so far, none failed")
        equal("pids of the tasks", host.pids("orders-api"), pids)

        # A container that is killed is a task exit like any other: the service replaces it.
        victim = min(pids)
        os.kill(victim, signal.SIGKILL)
        wait("the killed task is replaced", lambda: len(now := host.pids("orders-api")) == 2 and victim not in now, 30)
        stopped = wait("the killed task is listed as stopped", lambda: shop.ecs.list_tasks(cluster="orders", desiredStatus="STOPPED")["taskArns"])
        task = shop.ecs.describe_tasks(cluster="orders", tasks=stopped)["tasks"][0]
        equal("exit code", task["containers"][0]["exitCode"], 137)
        equal("stop code", task["stopCode"], "EssentialContainerExited")
