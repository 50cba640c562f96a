# A second service, which only the first one calls, by a name inside the VPC.
resource "aws_service_discovery_private_dns_namespace" "main" {
  name        = "${var.name}.local"
  description = "Names of services"
  vpc         = aws_vpc.main.id
}

resource "aws_service_discovery_service" "stock" {
  name          = "stock"
  description   = "What is left"
  force_destroy = true

  dns_config {
    namespace_id   = aws_service_discovery_private_dns_namespace.main.id
    routing_policy = "MULTIVALUE"

    dns_records {
      type = "A"
      ttl  = var.discovery_ttl_seconds
    }
  }
}

resource "aws_security_group" "stock" {
  name        = "${var.name}-stock"
  description = "What may reach the stock"
  vpc_id      = aws_vpc.main.id
}

resource "aws_vpc_security_group_ingress_rule" "stock" {
  security_group_id            = aws_security_group.stock.id
  description                  = "from the API"
  ip_protocol                  = "tcp"
  from_port                    = 8080
  to_port                      = 8080
  referenced_security_group_id = aws_security_group.task.id
}

resource "aws_vpc_security_group_egress_rule" "stock" {
  security_group_id = aws_security_group.stock.id
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_cloudwatch_log_group" "stock" {
  name              = "/ecs/${var.name}-stock"
  retention_in_days = var.log_days
}

resource "aws_ecs_task_definition" "stock" {
  family                   = "${var.name}-stock"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = aws_iam_role.execution.arn

  container_definitions = jsonencode([{
    name         = "stock"
    image        = "${aws_ecr_repository.api.repository_url}:${var.image_tag}"
    essential    = true
    portMappings = [{ containerPort = 8080, protocol = "tcp" }]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.stock.name
        awslogs-region        = var.region
        awslogs-stream-prefix = "stock"
      }
    }
  }])
}

# One on demand, the rest where it is cheap.
resource "aws_ecs_service" "stock" {
  name                  = "stock"
  cluster               = aws_ecs_cluster.main.id
  task_definition       = aws_ecs_task_definition.stock.arn
  desired_count         = 1
  wait_for_steady_state = true
  propagate_tags        = "SERVICE"

  capacity_provider_strategy {
    capacity_provider = "FARGATE"
    base              = 1
    weight            = 1
  }

  capacity_provider_strategy {
    capacity_provider = "FARGATE_SPOT"
    weight            = 3
  }

  network_configuration {
    subnets         = aws_subnet.private[*].id
    security_groups = [aws_security_group.stock.id]
  }

  service_registries {
    registry_arn = aws_service_discovery_service.stock.arn
  }

  depends_on = [
    aws_ecs_cluster_capacity_providers.main,
    aws_route.private,
    aws_iam_role_policy_attachment.execution,
  ]
}
