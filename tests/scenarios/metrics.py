"""CloudWatch: data put and asked for over its three protocols, metric math, alarms that go off and calm down, composite
alarms, dashboards, tags, pages; every operation well and badly; and metrics are there after a restart."""
import datetime, http.client, json, os, tempfile, time
import botocore.parsers, botocore.serialize
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError
from host import equal, error_code, wait

NAMESPACE = "shop/orders"
DIMENSIONS = [{"Name": "Service", "Value": "api"}]


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def ago(seconds):
    return now() - datetime.timedelta(seconds=seconds)


def raw(region, protocol, client, operation, arguments):
    """A call in a protocol of the scenario's choice: (status, answer)."""
    service = client.meta.service_model
    model = service.operation_model(operation)
    made = botocore.serialize.create_serializer(protocol).serialize_to_request(arguments, model)
    headers = {**made["headers"], "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260102/us-east-1/monitoring/aws4_request, SignedHeaders=host;x-amz-date, Signature=00"}
    body = made["body"]
    if isinstance(body, dict):
        from urllib.parse import urlencode
        body = urlencode(body)
        headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
    connection = http.client.HTTPConnection(region.endpoint.removeprefix("http://"), timeout=10)
    connection.request("POST", made["url_path"], body, headers)
    answer = connection.getresponse()
    message = {"status_code": answer.status, "headers": HTTPHeaders.from_pairs(answer.getheaders()), "body": answer.read()}
    connection.close()
    return answer.status, botocore.parsers.create_parser(protocol).parse(message, model.output_shape)


def protocols(region, client):
    for protocol in ("query", "json", "smithy-rpc-v2-cbor"):
        datum = {"MetricName": "Spoken", "Dimensions": [{"Name": "Protocol", "Value": protocol}], "Value": 2.5, "Unit": "Seconds", "Timestamp": ago(30)}
        status, _ = raw(region, protocol, client, "PutMetricData", {"Namespace": NAMESPACE, "MetricData": [datum]})
        equal(f"put by {protocol}", status, 200)
        asked = {"Namespace": NAMESPACE, "MetricName": "Spoken", "Dimensions": datum["Dimensions"], "StartTime": ago(120), "EndTime": now(),
                 "Period": 60, "Statistics": ["Average"], "ExtendedStatistics": []}
        asked.pop("ExtendedStatistics")
        _, answer = raw(region, protocol, client, "GetMetricStatistics", asked)
        equal(f"asked by {protocol}", [(p["Average"], p["Unit"]) for p in answer["Datapoints"]], [(2.5, "Seconds")])
        status, answer = raw(region, protocol, client, "SetAlarmState", {"AlarmName": "nobody", "StateValue": "OK", "StateReason": "x"})
        equal(f"refused by {protocol}", (status, answer["Error"]["Code"]), (404, "ResourceNotFound"))
        status, answer = raw(region, protocol, client, "GetDashboard", {"DashboardName": "nobody"})
        equal(f"no dashboard by {protocol}", (status, answer["Error"]["Code"]), (404, "ResourceNotFound"))


def data(client):
    at = now().replace(second=0, microsecond=0) - datetime.timedelta(minutes=10)
    minute = lambda n: at + datetime.timedelta(minutes=n)
    put = lambda name, **datum: client.put_metric_data(Namespace=NAMESPACE, MetricData=[{"MetricName": name, "Dimensions": DIMENSIONS, "Unit": "Count", **datum}])
    for n, value in enumerate([1, 2, 3]):
        put("Requests", Timestamp=minute(n), Value=value)
    put("Errors", Timestamp=minute(0), Value=1)
    put("Errors", Timestamp=minute(2), Values=[1, 2], Counts=[1, 1])
    put("Latency", Timestamp=minute(0), Values=[float(n) for n in range(1, 101)])
    put("Sizes", Timestamp=minute(0), StatisticValues={"SampleCount": 4, "Sum": 10, "Minimum": 1, "Maximum": 4})
    # Large enough for boto3 to compress it.
    client.put_metric_data(Namespace=NAMESPACE, MetricData=[{"MetricName": f"Many{n:03}", "Dimensions": DIMENSIONS, "Value": n} for n in range(700)])

    statistics = lambda name, period=60, **more: sorted(client.get_metric_statistics(
        Namespace=NAMESPACE, MetricName=name, Dimensions=DIMENSIONS, StartTime=at, EndTime=minute(10), Period=period, **more)["Datapoints"], key=lambda p: p["Timestamp"])
    whole, = statistics("Requests", 300, Statistics=["Sum", "Average", "Minimum", "Maximum", "SampleCount"])
    equal("five minutes", [whole[k] for k in ("Sum", "Average", "Minimum", "Maximum", "SampleCount", "Timestamp")], [6, 2, 1, 3, 3, at])
    equal("by the minute", [p["Sum"] for p in statistics("Requests", Statistics=["Sum"])], [1, 2, 3])
    latency, = statistics("Latency", ExtendedStatistics=["p50", "p99", "TM(10%:90%)", "PR(:30)"])
    equal("percentiles", latency["ExtendedStatistics"], {"p50": 50, "p99": 99, "TM(10%:90%)": 50.5, "PR(:30)": 30})
    equal("no percentile of a sum", statistics("Sizes", ExtendedStatistics=["p50"]), [])
    equal("another unit", statistics("Requests", Statistics=["Sum"], Unit="Bytes"), [])

    metric = lambda name: {"Metric": {"Namespace": NAMESPACE, "MetricName": name, "Dimensions": DIMENSIONS}, "Period": 60, "Stat": "Sum"}
    queries = [{"Id": "r", "MetricStat": metric("Requests"), "ReturnData": False}, {"Id": "e", "MetricStat": metric("Errors"), "ReturnData": False},
               {"Id": "rate", "Expression": "100*FILL(e,0)/r", "Label": "error rate"}, {"Id": "all", "Expression": "SUM(METRICS())"}]
    span = {"StartTime": at, "EndTime": minute(10)}
    answer = client.get_metric_data(MetricDataQueries=queries, ScanBy="TimestampAscending", **span)["MetricDataResults"]
    equal("metric math", [(r["Id"], r["Label"], r["Values"], r["StatusCode"]) for r in answer],
          [("rate", "error rate", [100, 0, 100], "Complete"), ("all", "all", [2, 2, 6], "Complete")])
    newest = client.get_metric_data(MetricDataQueries=[{"Id": "r", "MetricStat": metric("Requests")}], **span)["MetricDataResults"][0]
    equal("newest first", (newest["Label"], newest["Values"], newest["Timestamps"][0]), ("Requests", [3, 2, 1], minute(2)))
    pages = client.get_paginator("get_metric_data").paginate(MetricDataQueries=[{"Id": "r", "MetricStat": metric("Requests")}, {"Id": "e", "MetricStat": metric("Errors")}], MaxDatapoints=2, **span)
    equal("pages", sorted(v for page in pages for r in page["MetricDataResults"] for v in r["Values"]), [1, 1, 2, 3, 3])

    listed = lambda **filters: [m["MetricName"] for page in client.get_paginator("list_metrics").paginate(**filters) for m in page["Metrics"]]
    equal("all metrics of the namespace", len(listed(Namespace=NAMESPACE, Dimensions=[{"Name": "Service"}])), 704)
    equal("by name", listed(MetricName="Errors", Dimensions=[{"Name": "Service", "Value": "api"}], RecentlyActive="PT3H"), ["Errors"])
    equal("by another value", listed(MetricName="Errors", Dimensions=[{"Name": "Service", "Value": "other"}]), [])
    select = lambda text: [(r["Label"], r["Values"]) for r in client.get_metric_data(MetricDataQueries=[{"Id": "q", "Period": 60, "Expression": text}], ScanBy="TimestampAscending", **span)["MetricDataResults"]]
    equal("Metrics Insights", select(f"SELECT SUM(Requests) FROM \"{NAMESPACE}\" WHERE Service = 'api'"), [("q", [1, 2, 3])])
    equal("by group", select(f"SELECT MAX(Requests) FROM SCHEMA(\"{NAMESPACE}\", Service) GROUP BY Service"), [("api", [1, 2, 3])])
    equal("nothing of that name", select(f"SELECT SUM(Nothing) FROM \"{NAMESPACE}\""), [])
    bad_data(client, span, metric)


def bad_data(client, span, metric):
    put = lambda code, namespace=NAMESPACE, **datum: equal(f"put {datum}", error_code(client.put_metric_data, Namespace=namespace, MetricData=[{"MetricName": "m", **datum}]), code)
    put("InvalidParameterValue", namespace="AWS/EC2", Value=1)
    put("InvalidParameterValue", Value=float("nan"))
    put("InvalidParameterValue", Value=1e200)
    put("InvalidParameterValue", Value=1, Timestamp=ago(15 * 86400))
    put("InvalidParameterValue", Value=1, Timestamp=now() + datetime.timedelta(hours=3))
    put("InvalidParameterCombination", Value=1, StatisticValues={"SampleCount": 1, "Sum": 1, "Minimum": 1, "Maximum": 1})
    put("InvalidParameterValue", Values=[1], Counts=[1, 2])
    put("ValidationError", Value=1, Dimensions=[{"Name": f"d{n}", "Value": "v"} for n in range(31)])
    put("MissingParameter")
    many = [{"MetricName": "m", "Value": 1}] * 1001
    equal("too many", error_code(client.put_metric_data, Namespace=NAMESPACE, MetricData=many), "InvalidParameterValue")
    query = lambda code, queries, **more: equal(f"query {queries}", error_code(client.get_metric_data, MetricDataQueries=queries, **{**span, **more}), code)
    query("ValidationError", [{"Id": "a"}])
    query("ValidationError", [{"Id": "A", "MetricStat": metric("Requests")}])
    query("ValidationError", [{"Id": "a", "Expression": "b + 1"}])
    query("ValidationError", [{"Id": "a", "Expression": "NOTHING(1)"}])
    query("ValidationError", [{"Id": "a", "Expression": "SELECT SUM(a)"}])
    query("ValidationError", [{"Id": "a", "MetricStat": metric("Requests")}], EndTime=span["StartTime"])
    statistics = lambda code, **more: equal(f"statistics {more}", error_code(
        client.get_metric_statistics, **{**span, "Namespace": NAMESPACE, "MetricName": "Requests", "Period": 60, "Statistics": ["Sum"], **more}), code)
    statistics("InvalidParameterValue", EndTime=span["StartTime"])
    statistics("InvalidParameterValue", Period=61)
    statistics("InvalidParameterCombination", StartTime=ago(10 * 86400))
    statistics("InvalidParameterCombination", ExtendedStatistics=["p50"])
    equal("a foreign token", error_code(client.list_metrics, NextToken="x"), "InvalidParameterValue")


def alarm(name="busy", **more):
    return {"AlarmName": name, "Namespace": NAMESPACE, "MetricName": "Load", "Dimensions": DIMENSIONS, "Statistic": "Average", "Period": 60,
            "EvaluationPeriods": 1, "Threshold": 5.0, "ComparisonOperator": "GreaterThanThreshold", **more}


def state(client, name="busy"):
    answer = client.describe_alarms(AlarmNames=[name], AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    return (answer["MetricAlarms"] + answer["CompositeAlarms"])[0]


def alarms(client):
    put = lambda value: client.put_metric_data(Namespace=NAMESPACE, MetricData=[{"MetricName": "Load", "Dimensions": DIMENSIONS, "Value": value}])
    topic = "arn:aws:sns:us-east-1:000000000000:pager"
    client.put_metric_alarm(**alarm(AlarmActions=[topic], OKActions=[topic], TreatMissingData="notBreaching", Tags=[{"Key": "stage", "Value": "one"}]))
    client.get_waiter("alarm_exists").wait(AlarmNames=["busy"], WaiterConfig={"Delay": 0.2, "MaxAttempts": 20})
    client.put_metric_alarm(**alarm("busy2", Threshold=1e6, TreatMissingData="notBreaching"))
    client.put_composite_alarm(AlarmName="bad", AlarmRule='ALARM(busy) AND NOT ALARM("busy2")', AlarmActions=[topic])
    client.get_waiter("composite_alarm_exists").wait(AlarmNames=["bad"], AlarmTypes=["CompositeAlarm"], WaiterConfig={"Delay": 0.2, "MaxAttempts": 20})
    # Both: else the other one's change could be the last that the composite alarm tells of.
    wait("calm without data", lambda: all(state(client, name)["StateValue"] == "OK" for name in ("busy", "busy2")))
    started = time.monotonic()
    wait("the alarm goes off", lambda: put(9.0) and state(client)["StateValue"] == "ALARM", 30)
    print(f"an alarm of 60 s went off {time.monotonic() - started:.1f} s after the first datum, at speed 20")
    found = state(client)
    assert found["StateReason"].startswith("Threshold Crossed: 1 out of the last 1 datapoint [9.0 ("), found["StateReason"]
    equal("reason for machines", json.loads(found["StateReasonData"])["threshold"], 5.0)
    wait("the composite alarm follows", lambda: state(client, "bad")["StateValue"] == "ALARM")
    assert ":alarm:busy transitioned to ALARM at" in state(client, "bad")["StateReason"], state(client, "bad")["StateReason"]
    wait("the alarm calms down", lambda: put(1.0) and state(client)["StateValue"] == "OK", 30)
    wait("the composite alarm calms down", lambda: state(client, "bad")["StateValue"] == "OK")
    items = client.describe_alarm_history(AlarmName="busy", ScanBy="TimestampAscending")["AlarmHistoryItems"]
    equal("first in history", items[0]["HistorySummary"], 'Alarm "busy" created')
    summaries = [i["HistorySummary"] for i in items if i["HistoryItemType"] == "StateUpdate"]
    assert "Alarm updated from OK to ALARM" in summaries and "Alarm updated from ALARM to OK" in summaries, summaries
    assert any(topic in i["HistorySummary"] for i in items if i["HistoryItemType"] == "Action"), items

    client.put_metric_alarm(AlarmName="math", EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore", Metrics=[
        {"Id": "double", "Expression": "m*2"}, {"Id": "m", "ReturnData": False, "MetricStat": {"Metric": {"Namespace": NAMESPACE, "MetricName": "Load", "Dimensions": DIMENSIONS}, "Period": 60, "Stat": "Average"}}])
    wait("an expression's alarm goes off", lambda: put(1.0) and state(client, "math")["StateValue"] == "ALARM", 30)

    equal("by metric", [a["AlarmName"] for a in client.describe_alarms_for_metric(Namespace=NAMESPACE, MetricName="Load", Dimensions=DIMENSIONS)["MetricAlarms"]], ["busy", "busy2"])
    equal("metric alarms alone", [a["AlarmName"] for a in client.describe_alarms()["MetricAlarms"]], ["busy", "busy2", "math"])
    equal("children", [a["AlarmName"] for a in client.describe_alarms(ChildrenOfAlarmName="bad")["MetricAlarms"]], ["busy", "busy2"])
    pages = list(client.get_paginator("describe_alarms").paginate(PaginationConfig={"PageSize": 1}))
    equal("pages", [len(page["MetricAlarms"]) for page in pages], [1, 1, 1])
    client.disable_alarm_actions(AlarmNames=["busy", "nobody"])
    equal("actions off", state(client)["ActionsEnabled"], False)
    client.enable_alarm_actions(AlarmNames=["busy"])
    equal("actions on", state(client)["ActionsEnabled"], True)
    client.set_alarm_state(AlarmName="math", StateValue="OK", StateReason="by hand", StateReasonData="{}")
    wait("the next evaluation decides", lambda: put(1.0) and state(client, "math")["StateValue"] == "ALARM", 30)
    tags(client, state(client)["AlarmArn"])
    bad_alarms(client)


def tags(client, arn):
    listed = lambda: {t["Key"]: t["Value"] for t in client.list_tags_for_resource(ResourceARN=arn)["Tags"]}
    equal("tags of a new alarm", listed(), {"stage": "one"})
    client.tag_resource(ResourceARN=arn, Tags=[{"Key": "stage", "Value": "two"}, {"Key": "owner", "Value": "shop"}])
    client.untag_resource(ResourceARN=arn, TagKeys=["owner"])
    equal("tags changed", listed(), {"stage": "two"})
    equal("reserved tag", error_code(client.tag_resource, ResourceARN=arn, Tags=[{"Key": "aws:x", "Value": "y"}]), "InvalidParameterValue")
    for call, more in ((client.list_tags_for_resource, {}), (client.tag_resource, {"Tags": []}), (client.untag_resource, {"TagKeys": []})):
        equal("tags of nobody", error_code(call, ResourceARN=arn + "x", **more), "ResourceNotFoundException")
        equal("tags of nothing", error_code(call, ResourceARN="x", **more), "InvalidParameterValue")


def bad_alarms(client):
    put = lambda code, **more: equal(f"alarm {more}", error_code(client.put_metric_alarm, **{k: v for k, v in alarm("wrong", **more).items() if v is not None}), code)
    for name in ("EvaluationPeriods", "Threshold", "ComparisonOperator", "Period", "Statistic", "MetricName", "Namespace"):
        put("ValidationError", **{name: None})
    put("ValidationError", ComparisonOperator="Above")
    put("ValidationError", TreatMissingData="perhaps")
    put("ValidationError", DatapointsToAlarm=2)
    put("ValidationError", Period=45)
    put("ValidationError", Period=60, EvaluationPeriods=1441)
    put("ValidationError", ExtendedStatistic="p99")
    put("InvalidParameterValue", Statistic=None, ExtendedStatistic="90")
    put("ValidationError", EvaluateLowSampleCountPercentile="unknown")
    put("ValidationError", Metrics=[{"Id": "a", "Expression": "1"}])
    composite = lambda code, rule, name="wrong": equal(f"rule {rule}", error_code(client.put_composite_alarm, AlarmName=name, AlarmRule=rule), code)
    composite("ValidationError", "ALARM(")
    composite("ValidationError", "ALARM(nobody)")
    composite("ValidationError", "ALARM(bad)", "bad")
    composite("ValidationError", "ALARM(busy)", "busy2")
    equal("state of nobody", error_code(client.set_alarm_state, AlarmName="nobody", StateValue="OK", StateReason=""), "ResourceNotFound")
    equal("no state", error_code(client.set_alarm_state, AlarmName="busy", StateValue="FINE", StateReason=""), "ValidationError")
    equal("no JSON", error_code(client.set_alarm_state, AlarmName="busy", StateValue="OK", StateReason="", StateReasonData="{"), "InvalidFormat")
    equal("a foreign token", error_code(client.describe_alarms, NextToken="x"), "InvalidNextToken")
    equal("a foreign token", error_code(client.describe_alarm_history, NextToken="x"), "InvalidNextToken")
    equal("in a rule", error_code(client.delete_alarms, AlarmNames=["busy"]), "ValidationError")
    client.delete_alarms(AlarmNames=["bad", "nobody"])
    client.delete_alarms(AlarmNames=["busy", "busy2", "math"])
    equal("gone", client.describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])["MetricAlarms"], [])
    assert client.describe_alarm_history(AlarmName="busy")["AlarmHistoryItems"][0]["HistorySummary"] == 'Alarm "busy" deleted'


def dashboards(client):
    body = json.dumps({"widgets": [{"type": "text", "x": 0, "y": 0, "width": 3, "height": 3, "properties": {"markdown": "Hello"}}]})
    for name in ("one", "other", "two"):
        equal("no complaint", client.put_dashboard(DashboardName=name, DashboardBody=body)["DashboardValidationMessages"], [])
    equal("as it was put", client.get_dashboard(DashboardName="one")["DashboardBody"], body)
    entries = [e for page in client.get_paginator("list_dashboards").paginate(DashboardNamePrefix="o") for e in page["DashboardEntries"]]
    equal("listed", [(e["DashboardName"], e["Size"]) for e in entries], [("one", len(body)), ("other", len(body))])
    odd = client.put_dashboard(DashboardName="one", DashboardBody='{"widgets":[{"type":"x"}]}')["DashboardValidationMessages"]
    assert odd and odd[0]["DataPath"].startswith("/widgets/0"), odd
    equal("no JSON", error_code(client.put_dashboard, DashboardName="x", DashboardBody="{"), "InvalidParameterInput")
    equal("no name", error_code(client.put_dashboard, DashboardName="a b", DashboardBody=body), "InvalidParameterInput")
    equal("nobody's", error_code(client.get_dashboard, DashboardName="nobody"), "ResourceNotFound")
    equal("one is nobody's", error_code(client.delete_dashboards, DashboardNames=["one", "nobody"]), "ResourceNotFound")
    equal("none", error_code(client.delete_dashboards, DashboardNames=[]), "InvalidParameterValue")
    equal("a foreign token", error_code(client.list_dashboards, NextToken="x"), "InvalidParameterValue")
    client.delete_dashboards(DashboardNames=["one", "other", "two"])
    equal("gone", client.list_dashboards()["DashboardEntries"], [])


def lasts(host):
    """What was answered is there after a restart; what is apart by account and region stays so."""
    folder = os.path.join(host.folder, "data")
    at = ago(120)
    asked = dict(Namespace=NAMESPACE, MetricName="Lasting", StartTime=ago(600), EndTime=now(), Period=60, Statistics=["Sum"])
    with host.region(data=folder) as region:
        region.client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=[{"MetricName": "Lasting", "Value": 7, "Timestamp": at}])
        equal("of this region alone", region.client("cloudwatch", "eu-west-1").list_metrics(Namespace=NAMESPACE)["Metrics"], [])
        equal("of this account alone", region.client("cloudwatch", key="111111111111").list_metrics(Namespace=NAMESPACE)["Metrics"], [])
    with host.region(data=folder) as region:
        points = region.client("cloudwatch").get_metric_statistics(**asked)["Datapoints"]
        equal("after a restart", [p["Sum"] for p in points], [7])


def scenario(host):
    with host.region("--speed", "20") as region:
        client = region.client("cloudwatch")
        protocols(region, client)
        data(client)
        alarms(client)
        dashboards(client)
    lasts(host)
