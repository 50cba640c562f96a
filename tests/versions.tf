terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

provider "aws" {
  region = "us-east-1"
}

variable "changed" {
  description = "Whether everything that can change has changed."
  type        = bool
  default     = false
}
