"""CloudWatch Logs: what a container says raises an alarm by a metric filter; filter patterns of each form; filters listed, tested,
refused and deleted; subscription filters, whose destinations are no services here."""
import time
from host import Tasks, equal, error_code, wait
from scenarios.containers import IMAGE, LOG, define
from scenarios.paths import Vpc

GROUP = "/probes"
NAMESPACE = "shop"


def ms():
    return int(time.time() * 1000)


def put(logs, group, stream, *messages):
    at = ms()
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[{"timestamp": at, "message": m} for m in messages])


def alarm(region, tasks):
    """A line of a container, counted by a filter, raises an alarm."""
    logs, cloudwatch = tasks.logs, region.client("cloudwatch")
    logs.put_metric_filter(logGroupName=GROUP, filterName="failures", filterPattern='{ $.level = "ERROR" && $.took > 10 }', metricTransformations=[
        {"metricNamespace": NAMESPACE, "metricName": "Took", "metricValue": "$.took", "dimensions": {"Path": "$.path"}, "unit": "Milliseconds"}])
    cloudwatch.put_metric_alarm(AlarmName="failures", Namespace=NAMESPACE, MetricName="Took", Dimensions=[{"Name": "Path", "Value": "/pay"}],
                                Unit="Milliseconds", Statistic="Maximum", Period=60, EvaluationPeriods=1, Threshold=50, ComparisonOperator="GreaterThanThreshold")
    said = '{"level":"INFO","took":500,"path":"/pay"}', '{"level":"ERROR","took":77.5,"path":"/pay"}', '{"level":"ERROR","took":80,"path":"/other"}'
    lines = "; ".join(f"echo '{line}'" for line in said)
    tasks.start(None, define(tasks, "failing", [{"name": "main", "image": IMAGE, "essential": True, "logConfiguration": LOG,
                                                 "command": ["sh", "-c", f"{lines}; sleep 1000"], "stopTimeout": 2}]))
    state = lambda: cloudwatch.describe_alarms(AlarmNames=["failures"])["MetricAlarms"][0]["StateValue"]
    wait("the alarm goes off", lambda: state() == "ALARM", 90)
    listed = cloudwatch.list_metrics(Namespace=NAMESPACE)["Metrics"]
    equal("dimensions", sorted(m["Dimensions"][0]["Value"] for m in listed), ["/other", "/pay"])


def patterns(logs):
    logs.create_log_group(logGroupName="/patterns")
    logs.create_log_stream(logGroupName="/patterns", logStreamName="s")
    messages = ['127.0.0.1 - anna [10/Oct/2000:13:25:15 -0700] "GET /a.html" 404 1534', '{"type":"Trail","ids":[1,7],"ok":true,"no":null}', "ERROR of memory", "all is well"]
    put(logs, "/patterns", "s", *messages)
    found = lambda pattern: [messages.index(e["message"]) for e in logs.filter_log_events(logGroupName="/patterns", filterPattern=pattern)["events"]]
    for pattern, expected in (("ERROR", [2]), ("?ERROR ?well", [2, 3]), ("is -ERROR", [3]), ('"of memory"', [2]), ("%[EF]R+OR%", [2]),
                              ("[ip, ..., status = 4*, bytes > 1000]", [0]), ("[a, b, c]", [2, 3]), ("{ $.type = T* && $.ids[1] >= 7 }", [1]),
                              ("{ $.ok IS TRUE && $.no IS NULL && $.none NOT EXISTS }", [1]), ("{ $.ok IS FALSE || $.type = %il$% }", [1])):
        equal(f"found by {pattern}", found(pattern), expected)
    for pattern in ("{ $.a }", "[a, b", "%(a)%", "a=b", '"open'):
        equal(f"refused: {pattern}", error_code(found, pattern=pattern), "InvalidParameterException")


def filters(logs):
    one = {"metricNamespace": NAMESPACE, "metricName": "Bytes", "metricValue": "$bytes", "defaultValue": 0}
    make = lambda name="c", pattern="[..., bytes]", group="/patterns", **change: logs.put_metric_filter(
        logGroupName=group, filterName=name, filterPattern=pattern, metricTransformations=[{**one, **change}])
    make("a")
    make("b", metricName="Other", metricValue="1")
    names = lambda **asked: [f["filterName"] for page in logs.get_paginator("describe_metric_filters").paginate(**asked) for f in page["metricFilters"]]
    equal("filters of the group", names(logGroupName="/patterns"), ["a", "b"])
    equal("filters by pages", names(logGroupName="/patterns", PaginationConfig={"PageSize": 1}), ["a", "b"])
    equal("filters by prefix", names(logGroupName="/patterns", filterNamePrefix="b"), ["b"])
    equal("filters by metric", names(metricName="Bytes", metricNamespace=NAMESPACE), ["a"])
    shown = logs.describe_metric_filters(logGroupName="/patterns", filterNamePrefix="a")["metricFilters"][0]
    equal("a filter", (shown["filterPattern"], shown["metricTransformations"]), ("[..., bytes]", [{**one, "defaultValue": 0.0}]))
    equal("count of the group", logs.describe_log_groups(logGroupNamePrefix="/patterns")["logGroups"][0]["metricFilterCount"], 2)
    refused = lambda code, **change: equal(f"refused {change}", error_code(make, **change), code)
    refused("InvalidParameterException", metricNamespace="AWS/Logs")
    refused("InvalidParameterException", metricValue="$nothing")
    refused("InvalidParameterException", metricValue="$.bytes")
    refused("InvalidParameterException", dimensions={"B": "$bytes"})
    refused("InvalidParameterException", pattern="{ $.a }")
    refused("InvalidParameterException", name="c:d")
    refused("ResourceNotFoundException", group="/nothing")
    tested = logs.test_metric_filter(filterPattern="[ip, ..., status, bytes]", logEventMessages=["1.2.3.4 x 200 7", "one"])["matches"]
    equal("tested", [(m["eventNumber"], m["extractedValues"]) for m in tested], [(1, {"$ip": "1.2.3.4", "$2": "x", "$status": "200", "$bytes": "7"})])
    logs.delete_metric_filter(logGroupName="/patterns", filterName="b")
    equal("deleted twice", error_code(logs.delete_metric_filter, logGroupName="/patterns", filterName="b"), "ResourceNotFoundException")
    equal("what is left", names(logGroupName="/patterns"), ["a"])


def subscriptions(logs):
    make = lambda arn, **more: error_code(logs.put_subscription_filter, logGroupName="/patterns", filterName="s", filterPattern="", destinationArn=arn, **more)
    equal("to a function", make("arn:aws:lambda:us-east-1:000000000000:function:f"), "InvalidParameterException")
    equal("to a stream", make("arn:aws:kinesis:us-east-1:000000000000:stream/s", roleArn="arn:aws:iam::000000000000:role/r"), "InvalidParameterException")
    equal("to nothing", make("nothing"), "InvalidParameterException")
    equal("none is there", logs.describe_subscription_filters(logGroupName="/patterns")["subscriptionFilters"], [])
    equal("of no group", error_code(logs.describe_subscription_filters, logGroupName="/nothing"), "ResourceNotFoundException")
    equal("none to delete", error_code(logs.delete_subscription_filter, logGroupName="/patterns", filterName="s"), "ResourceNotFoundException")


def scenario(host):
    with host.region("--speed", "10") as region:
        logs = region.client("logs")
        patterns(logs)
        filters(logs)
        subscriptions(logs)
        vpc = Vpc(region, "10.0.0.0/16")
        alarm(region, Tasks(host, region, [vpc.private[0]], [vpc.group]))
