"""A disk that is full: calls that change something fail with an error, reads and traffic go on, and when there is room again all
works, without a restart."""
import os
from botocore.exceptions import ClientError
from host import equal, http_get, sh, wait


def scenario(host):
    data = os.path.join(host.folder, "data")
    os.mkdir(data)
    sh("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", data)
    try:
        with host.region("--speed", "10", data=data) as region:
            shop = host.shop(region)
            filler = os.path.join(data, "filler")
            with open(filler, "wb") as f:
                try:
                    while True:
                        f.write(b"x" * 65536)
                        f.flush()
                except OSError:
                    pass
            refused = None
            for number in range(3000):
                try:
                    shop.logs.create_log_group(logGroupName=f"/{number}/" + "x" * 400)
                except ClientError as e:
                    refused = (e.response["ResponseMetadata"]["HTTPStatusCode"], e.response["Error"]["Code"], e.response["Error"]["Message"])
                    break
            assert refused and refused[0] == 500, refused
            assert data not in refused[2], f"internals reach the caller: {refused}"
            made = number
            equal("reads go on", len(shop.ec2.describe_vpcs(VpcIds=[shop.vpc])["Vpcs"]), 1)
            equal("traffic goes on", http_get(shop.addresses[0], "/health", "api.shop.test")[0], 200)
            equal("what failed is not there", len(shop.logs.describe_log_groups(logGroupNamePrefix=f"/{made}/")["logGroups"]), 0)

            os.unlink(filler)
            wait("calls work again", lambda: try_to(lambda: shop.logs.create_log_group(logGroupName="/again")))
            equal("restarts", [l for l in region.logs(5000).splitlines() if "starting it again" in l], [])
            print(f"refused after {made} groups: {refused}")
    finally:
        sh("umount", "-l", data, check=False)


def try_to(call):
    try:
        return bool(call())
    except ClientError:
        return False
