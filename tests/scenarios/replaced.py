"""The program's file is replaced, as an upgrade does, while its region runs: processes that die come back, as the build
that they were, and nothing is taken down."""
import os, shutil, signal
from host import equal, wait


def scenario(host):
    installed = os.path.join(host.folder, "fogbank")
    shutil.copy(host.fogbank, installed)
    original, host.fogbank = host.fogbank, installed
    with host.region("--speed", "10") as region:
        os.unlink(installed)
        shutil.copy(original, installed)
        for name in ("dns", "node"):
            pid = region.pid(name)
            os.kill(pid, signal.SIGKILL)
            wait(f"{name} is started again", lambda: region.process.poll() is not None or region.pid(name) != pid)
            equal("exit code of fogbank up", region.process.poll(), None)
        ec2 = region.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        # A network is built where something lives in it.
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
        ec2.create_vpc_endpoint(VpcId=vpc, ServiceName="com.amazonaws.us-east-1.logs", VpcEndpointType="Interface", SubnetIds=[subnet], PrivateDnsEnabled=False)
        wait("the network is built", lambda: f"fog-{region.instance}-{vpc[4:]}" in "".join(os.listdir("/run/netns")))
