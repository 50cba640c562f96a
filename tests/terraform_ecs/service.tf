resource "aws_ecr_repository" "api" {
  name         = "shift"
  force_delete = true
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com", "ecs.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "main" {
  name               = "shift"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_service_discovery_http_namespace" "main" {
  name = "shift"
}

resource "aws_ecs_cluster" "main" {
  name = "shift"

  service_connect_defaults {
    namespace = aws_service_discovery_http_namespace.main.arn
  }
}

resource "aws_ecs_cluster_capacity_providers" "main" {
  cluster_name       = aws_ecs_cluster.main.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]

  default_capacity_provider_strategy {
    capacity_provider = "FARGATE"
    base              = 1
    weight            = 1
  }
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name          = "shift-errors"
  namespace           = "Shop"
  metric_name         = "Errors"
  statistic           = "Sum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 1
  period              = 60
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
}

resource "aws_ecs_task_definition" "api" {
  family                   = "shift"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = aws_iam_role.main.arn

  container_definitions = jsonencode([{
    name         = "api"
    image        = "${aws_ecr_repository.api.repository_url}:1"
    essential    = true
    environment  = [{ name = "VERSION", value = var.changed ? "2" : "1" }]
    portMappings = [{ containerPort = 8080, name = "http", appProtocol = "http" }]
  }])
}

# Rolling, on a mix of capacity, with everything that guards it.
resource "aws_ecs_service" "rolling" {
  name                  = "rolling"
  cluster               = aws_ecs_cluster.main.arn
  task_definition       = aws_ecs_task_definition.api.arn
  desired_count         = var.changed ? 3 : 2
  propagate_tags        = "SERVICE"
  wait_for_steady_state = true

  enable_ecs_managed_tags            = true
  availability_zone_rebalancing      = "ENABLED"
  deployment_minimum_healthy_percent = var.changed ? 50 : 100
  deployment_maximum_percent         = 200

  capacity_provider_strategy {
    capacity_provider = "FARGATE"
    base              = 1
    weight            = 1
  }

  capacity_provider_strategy {
    capacity_provider = "FARGATE_SPOT"
    weight            = 1
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  alarms {
    alarm_names = [aws_cloudwatch_metric_alarm.errors.alarm_name]
    enable      = true
    rollback    = true
  }

  network_configuration {
    subnets          = [for subnet in aws_subnet.main : subnet.id]
    security_groups  = [aws_security_group.main.id]
    assign_public_ip = true
  }

  depends_on = [aws_ecs_cluster_capacity_providers.main]
}

# Called by name, with everything that an endpoint can have.
resource "aws_ecs_service" "connected" {
  name                  = "connected"
  cluster               = aws_ecs_cluster.main.arn
  task_definition       = aws_ecs_task_definition.api.arn
  desired_count         = 1
  launch_type           = "FARGATE"
  wait_for_steady_state = true

  service_connect_configuration {
    enabled   = true
    namespace = aws_service_discovery_http_namespace.main.arn

    service {
      port_name             = "http"
      discovery_name        = "connected"
      ingress_port_override = 15000

      client_alias {
        dns_name = var.changed ? "api.shift" : "connected.shift"
        port     = 80
      }

      timeout {
        idle_timeout_seconds        = 120
        per_request_timeout_seconds = var.changed ? 20 : 10
      }
    }
  }

  network_configuration {
    subnets          = [for subnet in aws_subnet.main : subnet.id]
    security_groups  = [aws_security_group.main.id]
    assign_public_ip = true
  }
}

# By the cluster's namespace, and by nothing but a port.
resource "aws_ecs_service" "caller" {
  name                  = "caller"
  cluster               = aws_ecs_cluster.main.arn
  task_definition       = aws_ecs_task_definition.api.arn
  desired_count         = 1
  launch_type           = "FARGATE"
  wait_for_steady_state = true

  service_connect_configuration {
    enabled = true

    service {
      port_name = "http"
    }
  }

  network_configuration {
    subnets          = [for subnet in aws_subnet.main : subnet.id]
    security_groups  = [aws_security_group.main.id]
    assign_public_ip = true
  }
}

# The scenario gives it a strategy that shifts traffic: the provider of this machine is older than those.
resource "aws_ecs_service" "canary" {
  name                              = "canary"
  cluster                           = aws_ecs_cluster.main.arn
  task_definition                   = aws_ecs_task_definition.api.arn
  desired_count                     = 1
  launch_type                       = "FARGATE"
  wait_for_steady_state             = true
  health_check_grace_period_seconds = 30

  network_configuration {
    subnets          = [for subnet in aws_subnet.main : subnet.id]
    security_groups  = [aws_security_group.main.id]
    assign_public_ip = true
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.main["blue"].arn
    container_name   = "api"
    container_port   = 8080
  }

  depends_on = [aws_lb_listener_rule.production]
}

output "repository_url" {
  value = aws_ecr_repository.api.repository_url
}
