"""CloudWatch Logs: what a container says raises an alarm by a metric filter; queries; events sealed with a key of KMS; filter patterns of each form; filters listed, tested,
refused and deleted; subscription filters, whose destinations are no services here."""
import os, pathlib, time
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


def insights(logs):
    """Queries: every command once, records by their pointers, a bad query's place, lists and stops."""
    logs.create_log_group(logGroupName="/queries")
    for stream in ("a", "b"):
        logs.create_log_stream(logGroupName="/queries", logStreamName=stream)
    put(logs, "/queries", "a", '{"level":"INFO","took":10,"user":{"name":"anna"}}', '{"level":"ERROR","took":30}', "plain took=7ms")
    put(logs, "/queries", "b", '{"level":"INFO","took":20}')
    span = {"startTime": int(time.time()) - 600, "endTime": int(time.time()) + 60}

    def ask(text, **more):
        started = logs.start_query(queryString=text, **{**span, "logGroupName": "/queries", **more})["queryId"]
        answer = wait("the query ends", lambda: (a := logs.get_query_results(queryId=started))["status"] != "Running" and a)
        equal(f"status of {text}", answer["status"], "Complete")
        return answer

    rows = lambda text, **more: [[f["value"] for f in row if f["field"] != "@ptr"] for row in ask(text, **more)["results"]]
    equal("grouped", rows("stats count(*) as n, avg(took), max(took) by level | sort n desc, level"), [["INFO", "2", "15", "20"], ["ERROR", "1", "30", "30"], ["1"]])
    equal("filtered", rows("fields took | filter level = 'INFO' and took > 5 | sort took desc | limit 1"), [["20"]])
    equal("taken apart", rows("parse @message 'plain took=*ms' as ms | filter ispresent(ms) | display ms, @logStream"), [["7", "a"]])
    equal("once each", len(rows("filter ispresent(level) | dedup level | display level")), 2)
    equal("summed", rows("stats sum(took)"), [["60"]])
    answer = ask("fields @timestamp, @message | filter @message like /plain/")
    equal("statistics", {k: answer["statistics"][k] for k in ("recordsMatched", "recordsScanned")}, {"recordsMatched": 1.0, "recordsScanned": 4.0})
    found = {f["field"]: f["value"] for f in answer["results"][0]}
    record = logs.get_log_record(logRecordPointer=found["@ptr"])["logRecord"]
    equal("a record", (record["@message"], record["@logStream"], record["@log"]), ("plain took=7ms", "a", "000000000000:/queries"))
    equal("a bad pointer", error_code(logs.get_log_record, logRecordPointer="none"), "InvalidParameterException")
    percents = {f["name"]: f["percent"] for f in logs.get_log_group_fields(logGroupName="/queries")["logGroupFields"]}
    equal("fields of the group", (percents["@message"], percents["took"], percents["user.name"]), (100, 75, 25))
    try:
        ask("fields @message | filtre level")
        raise AssertionError("a bad query was taken")
    except logs.exceptions.MalformedQueryException as error:
        place = error.response["queryCompileError"]["location"]
        equal("its place", (place["startCharOffset"], place["endCharOffset"]), (18, 24))
    equal("of no group", error_code(ask, text="limit 1", logGroupName="/nothing"), "ResourceNotFoundException")
    equal("in another language", error_code(ask, text="limit 1", queryLanguage="SQL"), "InvalidParameterException")
    equal("of two kinds of groups", error_code(ask, text="limit 1", logGroupNames=["/queries"]), "InvalidParameterException")
    listed = logs.describe_queries(logGroupName="/queries", status="Complete")["queries"]
    equal("queries listed", (listed[0]["queryString"], len(listed) >= 6), ("fields @timestamp, @message | filter @message like /plain/", True))
    equal("an ended one cannot be stopped", error_code(logs.stop_query, queryId=listed[0]["queryId"]), "InvalidParameterException")
    equal("none of that id", error_code(logs.get_query_results, queryId="nothing"), "ResourceNotFoundException")


def sealed(region, data, logs):
    """A group with a key of KMS: nothing of its events is on the disk in the clear, and they are read while the key is enabled."""
    kms = region.client("kms")
    key = kms.create_key()["KeyMetadata"]
    logs.create_log_group(logGroupName="/sealed", kmsKeyId=key["Arn"])
    shown = lambda: logs.describe_log_groups(logGroupNamePrefix="/sealed")["logGroups"][0].get("kmsKeyId")
    equal("the group's key", shown(), key["Arn"])
    logs.create_log_stream(logGroupName="/sealed", logStreamName="s")
    put(logs, "/sealed", "s", "the magic word is xyzzy")
    read = lambda: [e["message"] for e in logs.get_log_events(logGroupName="/sealed", logStreamName="s", startFromHead=True)["events"]]
    find = lambda: [e["message"] for e in logs.filter_log_events(logGroupName="/sealed", filterPattern="magic")["events"]]
    equal("read", (read(), find()), (["the magic word is xyzzy"],) * 2)
    on_disk = lambda word: [p for p in pathlib.Path(data).rglob("*") if p.is_file() and "logs" in p.parts and word in p.read_bytes()]
    equal("in the clear on the disk", on_disk(b"xyzzy"), [])
    kms.disable_key(KeyId=key["KeyId"])
    equal("read while the key is disabled", (error_code(read), error_code(find)), ("InvalidParameterException",) * 2)
    equal("a disabled key", error_code(logs.associate_kms_key, logGroupName="/sealed", kmsKeyId=key["Arn"]), "InvalidParameterException")
    kms.enable_key(KeyId=key["KeyId"])
    logs.disassociate_kms_key(logGroupName="/sealed")
    equal("no key", shown(), None)
    put(logs, "/sealed", "s", "in the clear")
    equal("what was sealed is read still", read(), ["the magic word is xyzzy", "in the clear"])
    logs.associate_kms_key(resourceIdentifier=f"arn:aws:logs:us-east-1:000000000000:log-group:/sealed", kmsKeyId=key["Arn"])
    put(logs, "/sealed", "s", "plugh is another")
    equal("read with two keys", read()[-1], "plugh is another")
    equal("in the clear on the disk at last", (len(on_disk(b"in the clear")), on_disk(b"plugh")), (1, []))
    equal("no such key", error_code(logs.associate_kms_key, logGroupName="/sealed", kmsKeyId="arn:aws:kms:us-east-1:000000000000:key/none"), "InvalidParameterException")
    equal("of no group", error_code(logs.associate_kms_key, logGroupName="/nothing", kmsKeyId=key["Arn"]), "ResourceNotFoundException")
    return key["Arn"]


def sealed_task(data, tasks, key):
    """What a container says into such a group is sealed by its own shim."""
    tasks.logs.associate_kms_key(logGroupName=GROUP, kmsKeyId=key)
    code, text = tasks.run("echo the word is frobozz")
    equal("what the container said", (code, text), (0, "the word is frobozz"))
    found = [p for p in pathlib.Path(data).rglob("*.log") if "logs" in p.parts and b"frobozz" in p.read_bytes()]
    equal("in the clear on the disk", found, [])


def scenario(host):
    data = os.path.join(host.folder, "data")
    with host.region("--speed", "10", data=data) as region:
        logs = region.client("logs")
        patterns(logs)
        filters(logs)
        subscriptions(logs)
        insights(logs)
        key = sealed(region, data, logs)
        vpc = Vpc(region, "10.0.0.0/16")
        tasks = Tasks(host, region, [vpc.private[0]], [vpc.group])
        alarm(region, tasks)
        sealed_task(data, tasks, key)
