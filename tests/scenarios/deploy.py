"""A service is deployed anew and scaled out and in while clients send requests: not one request fails."""
from host import Load, equal, wait


def scenario(host):
    with host.region("--speed", "10") as region:
        shop = host.shop(region)
        service = lambda: shop.ecs.describe_services(cluster="orders", services=["orders"])["services"][0]
        steady = lambda: (s := service()) and len(s["deployments"]) == 1 and s["runningCount"] == s["desiredCount"] and s["deployments"][0]["rolloutState"] == "COMPLETED" and s
        wait("the service is steady", steady, 60)
        first = host.pids("orders-api")
        with Load(shop.addresses) as load:
            load.more()
            shop.ecs.update_service(cluster="orders", service="orders", forceNewDeployment=True)
            deployed = wait("the new deployment is complete", lambda: (s := steady()) and not first & host.pids("orders-api") and s, 90)
            print(f"deployed anew: {load.answers} answers, none failed; events: {[e['message'] for e in deployed['events'][:4]]}")
            for count in (8, 2):
                shop.ecs.update_service(cluster="orders", service="orders", desiredCount=count)
                wait(f"{count} tasks", lambda: steady() and len(host.pids("orders-api")) == count, 90)
                load.more()
            print(f"scaled out and in: {load.answers} answers, none failed")
        zones = {t["availabilityZone"] for t in shop.ecs.describe_tasks(cluster="orders", tasks=shop.ecs.list_tasks(cluster="orders")["taskArns"])["tasks"]}
        equal("zones after scaling in", len(zones), 2)
        messages = [e["message"] for e in service()["events"]]
        assert any("has reached a steady state" in m for m in messages), messages
